//! What a reader sees of a run: plots and the HTML report.

pub mod axes;
pub mod confusion;
pub mod curves;
pub mod font;
pub mod html;
pub mod raster;
pub mod reliability;
pub mod svg;
pub mod thumbnail;
pub mod ticks;

pub use confusion::{confusion_png, confusion_svg};
pub use curves::{curves_png, curves_svg};
pub use html::{ClassSplit, MistakePhoto, ReportData};
pub use reliability::reliability_svg;
pub use thumbnail::Thumbnail;
