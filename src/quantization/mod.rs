//! Turns float networks into int8 ones: calibration, rounding, and what each layer costs.

mod bias;
mod calibrate;
mod coverage;
mod equalise;
mod observer;
mod scheme;
mod search;
mod sensitivity;
mod weights;

pub use calibrate::Calibration;
pub use coverage::Coverage;
pub use observer::Observer;
pub use scheme::Scheme;
pub use search::{Found, SENSITIVITY_IMAGES, Search, search};
pub use sensitivity::{Sensitivity, sensitivities};
