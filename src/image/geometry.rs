//! Transforms applied to pictures, the geometric ones in as few resamplings as their result allows.

use std::slice;

use fast_image_resize::{FilterType, ResizeAlg};
use image::RgbImage;

use super::resample::{Frame, resize_frame};
use super::transform::Transform;
use super::warp::{Map, Outside, warp};
use super::{colour, policy};

impl Transform {
    /// Applies transforms in their order, in as few resamplings as their result allows.
    pub fn apply_all(transforms: &[Self], picture: RgbImage) -> RgbImage {
        apply_all(transforms, picture)
    }

    /// Applies the transform; all but `ResizedCrop` keep the dimensions.
    pub fn apply(&self, mut picture: RgbImage) -> RgbImage {
        match self {
            Self::ColorJitter(adjustments) => {
                colour::adjust(&mut picture, adjustments);
                picture
            }
            Self::ResizedCrop { .. }
            | Self::HorizontalFlip
            | Self::VerticalFlip
            | Self::Rotation { .. }
            | Self::Affine(_) => apply_all(slice::from_ref(self), picture),
            Self::Operations(operations) => policy::apply_all(operations, picture),
            &Self::Erase {
                left,
                top,
                width,
                height,
                fill,
            } => policy::erase(picture, (left, top), (width, height), fill),
        }
    }
}

/// Applies transforms in their order. A crop, the flips and the rotation or affine map after it are
/// one resampling where the crop is enlarged. Where it shrinks it is averaged first, and then turned.
fn apply_all(transforms: &[Transform], mut picture: RgbImage) -> RgbImage {
    let mut geometry = Geometry::of(&picture);
    for transform in transforms {
        if geometry.add(transform) {
            continue;
        }
        picture = geometry.apply(picture);
        geometry = Geometry::of(&picture);
        if !geometry.add(transform) {
            picture = transform.apply(picture);
            geometry = Geometry::of(&picture);
        }
    }
    geometry.apply(picture)
}

/// A part of a picture, resized, then mapped.
struct Geometry {
    /// The part that is seen: beyond its border there is nothing, or its edge again.
    frame: Frame,
    /// Width and height of the result in pixels.
    size: (u32, u32),
    /// From the result to the resized part.
    map: Map,
    /// What is beyond the border, once a map can reach there.
    outside: Option<Outside>,
    is_identity: bool,
}

impl Geometry {
    /// One that changes nothing.
    fn of(picture: &RgbImage) -> Self {
        Self {
            frame: Frame::whole(picture),
            size: picture.dimensions(),
            map: Map::IDENTITY,
            outside: None,
            is_identity: true,
        }
    }

    /// Adds a transform; whether it can be composed with those before.
    fn add(&mut self, transform: &Transform) -> bool {
        let (width, height) = (f64::from(self.size.0), f64::from(self.size.1));
        match transform {
            &Transform::ResizedCrop {
                left,
                top,
                width,
                height,
                size,
            } if self.is_identity => {
                self.frame = Frame {
                    left,
                    top,
                    width,
                    height,
                };
                self.size = (size, size);
            }
            Transform::HorizontalFlip => self.map = self.map.after(Map::mirror_x(width)),
            Transform::VerticalFlip => self.map = self.map.after(Map::mirror_y(height)),
            Transform::Rotation { degrees } if self.outside.is_none() => {
                self.map = self.map.after(Map::rotation(*degrees, (width, height)));
                self.outside = Some(Outside::Black);
            }
            Transform::Affine(affine) if self.outside.is_none() => {
                self.map = self.map.after(affine.map((width, height)));
                self.outside = Some(Outside::Edge);
            }
            _ => return false,
        }
        self.is_identity = false;
        true
    }

    fn apply(&self, picture: RgbImage) -> RgbImage {
        if self.is_identity {
            return picture;
        }
        let frame = self.frame;
        let resizes = (frame.width, frame.height) != self.size;
        let enlarges = frame.width <= self.size.0 && frame.height <= self.size.1;
        match self.outside {
            None if resizes || frame != Frame::whole(&picture) => {
                let mut resized = self.resized(&picture);
                self.flip(&mut resized);
                resized
            }
            None => {
                let mut picture = picture;
                self.flip(&mut picture);
                picture
            }
            Some(outside) if enlarges => {
                let map = Map::scaling(frame.size(), self.size).after(self.map);
                warp(&picture, frame, self.size, map, outside)
            }
            Some(outside) => {
                let resized = self.resized(&picture);
                let whole = Frame::whole(&resized);
                warp(&resized, whole, self.size, self.map, outside)
            }
        }
    }

    fn resized(&self, picture: &RgbImage) -> RgbImage {
        let algorithm = ResizeAlg::Convolution(FilterType::Bilinear);
        resize_frame(picture, self.frame, self.size, algorithm)
    }

    /// Flips as the map does, which flips and nothing else.
    fn flip(&self, picture: &mut RgbImage) {
        let row = 3 * picture.width() as usize;
        let (x, y) = self.map.mirrors();
        if x {
            for row in picture.chunks_exact_mut(row.max(1)) {
                row.as_chunks_mut::<3>().0.reverse();
            }
        }
        if y {
            let mut rows = picture.chunks_exact_mut(row.max(1));
            while let (Some(upper), Some(lower)) = (rows.next(), rows.next_back()) {
                upper.swap_with_slice(lower);
            }
        }
    }
}
