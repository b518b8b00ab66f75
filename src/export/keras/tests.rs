//! Files are read back as they were written.

use super::{layers, legacy, reader, v3};
use crate::export::{Input, every_operator};

#[test]
fn every_operator_is_read_back() {
    for (input, takes_pixels) in [(Input::Float, false), (Input::Image, true)] {
        let network = every_operator::network(takes_pixels);
        let layers = || layers(&network, input).unwrap();
        let keras = v3::encode(layers(), "[]").unwrap();
        assert_eq!(keras, v3::encode(layers(), "[]").unwrap());
        every_operator::assert_alike(reader::read(&keras).unwrap().0, takes_pixels, 1e-5);
        let h5 = legacy::encode(layers(), "[]").unwrap();
        assert_eq!(h5, legacy::encode(layers(), "[]").unwrap());
        every_operator::assert_alike(reader::read_h5(&h5).unwrap().0, takes_pixels, 1e-5);
    }
}
