//! Turns float networks into int8 ones: calibration, rounding, and what each layer costs.

mod bias;
mod calibrate;
mod coverage;
mod equalise;
mod observer;
mod operators;
mod scheme;
mod search;
mod sensitivity;
mod weights;

pub(crate) use calibrate::Calibration;
pub(crate) use coverage::Coverage;
pub(crate) use observer::Observer;
pub(crate) use scheme::{Scheme, is_quantizable};
pub(crate) use search::{Found, SENSITIVITY_IMAGES, Search, search};
pub(crate) use sensitivity::Sensitivity;
