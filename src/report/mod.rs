//! What a reader sees of a run: plots and the HTML report.

mod axes;
mod comparison;
mod confusion;
mod curves;
mod font;
mod html;
mod parallel;
mod pareto;
mod raster;
mod reliability;
mod svg;
mod thumbnail;
mod ticks;
mod tuning;

pub use comparison::{ComparisonPage, ComparisonRow};
pub use confusion::{confusion_png, confusion_svg};
pub use curves::{curves_png, curves_svg};
pub use html::{ClassSplit, Fact, MistakePhoto, ReportData};
pub use parallel::{Axis, AxisValues, TrialLine, parallel_png, parallel_svg};
pub use pareto::{ModelPoint, pareto_png, pareto_svg};
pub use reliability::reliability_svg;
pub use thumbnail::Thumbnail;
pub use tuning::{TuningPage, TuningRow};
