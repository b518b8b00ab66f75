//! Folders are read back as they were written.

use prost::Message;

use super::{model, reader};
use crate::export::{Input, every_operator};

#[test]
fn every_operator_is_read_back() {
    for (input, takes_pixels) in [(Input::Float, false), (Input::Image, true)] {
        let network = every_operator::network(takes_pixels);
        let write = || model(&network, input).unwrap().encode_to_vec();
        let file = write();
        assert_eq!(file, write());
        every_operator::assert_alike(reader::read(&file).unwrap(), takes_pixels, 1e-5);
    }
}
