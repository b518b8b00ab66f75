//! Folders are read back as they were written.

use super::{encoded, reader};
use crate::export::{Input, every_operator};

#[test]
fn every_operator_is_read_back() {
    for (input, takes_pixels) in [(Input::Float, false), (Input::Image, true)] {
        let network = every_operator::network(takes_pixels);
        let file = encoded(&network, input).unwrap();
        assert_eq!(file, encoded(&network, input).unwrap());
        every_operator::assert_alike(reader::read(&file).unwrap(), takes_pixels, 1e-5);
    }
}
