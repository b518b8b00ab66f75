//! The transforms that augmentation draws, as functions of given parameters.

pub use super::colour::Adjustment;
use super::policy::Operation;
use super::warp::Map;

/// One transform with its parameters.
#[derive(Debug, Clone, PartialEq)]
pub enum Transform {
    /// Crops a rectangle and resizes it to `size` x `size`, bilinear with antialiasing.
    ///
    /// torchvision's `resized_crop` on PIL images; values differ by at most 1 of 255.
    ResizedCrop {
        left: u32,
        top: u32,
        width: u32,
        height: u32,
        size: u32,
    },
    HorizontalFlip,
    VerticalFlip,
    /// Turns counter-clockwise around the centre: bilinear, black outside.
    ///
    /// torchvision's `rotate` on PIL images with bilinear interpolation; values differ by at most 2
    /// of 255.
    Rotation {
        degrees: f32,
    },
    /// Colour adjustments in the order given.
    ColorJitter(Vec<Adjustment>),
    Affine(Affine),
    /// Operations of an augmentation policy, in the order given.
    Operations(Vec<Operation>),
    /// Fills a rectangle with a colour.
    Erase {
        left: u32,
        top: u32,
        width: u32,
        height: u32,
        fill: [u8; 3],
    },
}

/// An affine map around the centre: zoom, then shear, then rotation, then shift.
///
/// Sampled once, bilinear; outside the picture its nearest edge pixel is repeated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Affine {
    /// Counter-clockwise, in degrees.
    pub rotation: f32,
    /// To the right and downwards, as parts of the width and the height.
    pub shift: [f32; 2],
    /// Pixels to the right for each pixel downwards.
    pub shear: f32,
    /// Factor along the width and the height; above 1 enlarges.
    pub zoom: [f32; 2],
}

impl Affine {
    /// From a place in the result to the one in the picture.
    pub(super) fn map(&self, (width, height): (f64, f64)) -> Map {
        let (sin, cos) = f64::from(self.rotation).to_radians().sin_cos();
        let [zoom_x, zoom_y] = self.zoom.map(f64::from);
        let [shift_x, shift_y] = self.shift.map(f64::from);
        let shear = f64::from(self.shear);
        // Undo the rotation (y points down), the shear, the zoom.
        let inverse = [
            [(cos - shear * sin) / zoom_x, (-sin - shear * cos) / zoom_x],
            [sin / zoom_y, cos / zoom_y],
        ];
        let shift = (shift_x * width, shift_y * height);
        Map::about_the_middle(inverse, (width, height), shift)
    }
}
