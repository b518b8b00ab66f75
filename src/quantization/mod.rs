//! Turns float networks into int8 ones: calibration, rounding, and what each layer costs.

mod bias;
mod calibrate;
mod coverage;
mod equalise;
mod observer;
mod scheme;
mod sensitivity;
mod weights;

pub use calibrate::Calibration;
pub use coverage::Coverage;
pub use observer::Observer;
pub use scheme::Scheme;
pub use sensitivity::{Sensitivity, restore, sensitivities};
