//! Operators that move a window over a feature map.

use super::activation::Activation;

/// Cross-correlation with zero padding; weight `[out, in / groups, height, width]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Conv2d {
    pub in_channels: usize,
    pub out_channels: usize,
    /// Height and width.
    pub kernel: [usize; 2],
    pub stride: usize,
    /// Of rows and of columns.
    pub padding: [Padding; 2],
    pub dilation: usize,
    pub groups: usize,
    pub bias: bool,
    pub epilogue: Epilogue,
}

/// What a fused convolution does to its sums before it stores them, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Epilogue {
    /// Adds the second input, which has the shape of the output.
    pub add: bool,
    pub activation: Option<Activation>,
}

/// Pixels around a feature map along one axis. TensorFlow's "SAME" makes the two sides differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Padding {
    /// Above, or to the left.
    pub before: usize,
    /// Below, or to the right.
    pub after: usize,
}

/// Square window.
#[derive(Debug, Clone, PartialEq)]
pub struct Pool2d {
    pub kernel: usize,
    pub stride: usize,
    pub padding: usize,
    /// Whether a window may end beyond the map and its padding, so that the output size is rounded up; as
    /// in PyTorch it has to begin before.
    pub ceil_mode: bool,
}

impl Conv2d {
    /// A convolution without bias whose padding keeps the size at stride 1, with `in_channels`
    /// for the builder to fill in.
    pub fn new(out_channels: usize, kernel: usize) -> Self {
        Self::rectangular(out_channels, [kernel; 2])
    }

    /// As [`Conv2d::new`], with a kernel of this height and width.
    pub fn rectangular(out_channels: usize, kernel: [usize; 2]) -> Self {
        Self {
            in_channels: 0,
            out_channels,
            kernel,
            stride: 1,
            padding: kernel.map(|side| Padding::both(side / 2)),
            dilation: 1,
            groups: 1,
            bias: false,
            epilogue: Epilogue::default(),
        }
    }

    pub fn stride(mut self, stride: usize) -> Self {
        self.stride = stride;
        self
    }

    /// The same padding of rows and columns.
    pub fn padding(mut self, padding: Padding) -> Self {
        self.padding = [padding; 2];
        self
    }

    pub fn groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }

    pub fn dilation(mut self, dilation: usize) -> Self {
        self.dilation = dilation;
        self
    }

    pub fn bias(mut self) -> Self {
        self.bias = true;
        self
    }

    /// Pixels that a window has.
    pub fn taps(&self) -> usize {
        self.kernel.iter().product()
    }

    /// Height and width in pixels from a window's first to its last.
    pub fn reach(&self) -> [usize; 2] {
        let dilation = self.dilation;
        self.kernel.map(|side| dilation * (side.max(1) - 1) + 1)
    }
}

impl Pool2d {
    /// A window without padding.
    pub fn new(kernel: usize, stride: usize) -> Self {
        Self {
            kernel,
            stride,
            padding: 0,
            ceil_mode: false,
        }
    }

    pub fn padding(mut self, padding: usize) -> Self {
        self.padding = padding;
        self
    }

    pub fn ceil_mode(mut self) -> Self {
        self.ceil_mode = true;
        self
    }

    /// The pixels around `size` of them that its windows take up.
    pub fn around(&self, size: usize) -> Padding {
        let (before, stride) = (self.padding, self.stride.max(1));
        let room = (size + 2 * before).saturating_sub(self.kernel);
        // The last window begins on the map or on the padding before it.
        let last = (room.div_ceil(stride) * stride)
            .min((size + before).div_ceil(stride) * stride - stride);
        let more = match self.ceil_mode {
            true => (last + self.kernel).saturating_sub(size + 2 * before),
            false => 0,
        };
        Padding {
            before,
            after: before + more,
        }
    }
}

impl Padding {
    pub fn both(pixels: usize) -> Self {
        Self {
            before: pixels,
            after: pixels,
        }
    }

    /// TensorFlow's "SAME": the output is `ceil(size / stride)`, an odd pixel goes after.
    pub fn same(size: usize, kernel: usize, stride: usize) -> Self {
        let needed = (size.div_ceil(stride).max(1) - 1) * stride + kernel;
        let total = needed.saturating_sub(size);
        Self {
            before: total / 2,
            after: total - total / 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_padding_puts_the_odd_pixel_after() {
        let padding = Padding::same(224, 3, 2);
        assert_eq!((padding.before, padding.after), (0, 1));
        assert_eq!(Padding::same(14, 5, 1), Padding::both(2));
        assert_eq!(Padding::same(14, 1, 2), Padding::both(0));
    }

    #[test]
    fn the_last_window_of_a_pool_begins_on_the_map() {
        let after = |pool: Pool2d, size| pool.around(size).after;
        assert_eq!(after(Pool2d::new(3, 2), 112), 0);
        assert_eq!(after(Pool2d::new(3, 2).ceil_mode(), 112), 1);
        assert_eq!(after(Pool2d::new(3, 2).ceil_mode(), 111), 0);
        assert_eq!(after(Pool2d::new(3, 1).padding(1).ceil_mode(), 14), 1);
        assert_eq!(after(Pool2d::new(2, 2).ceil_mode(), 7), 1);
        // Rounded up there would be a window on padding alone: 1 + 1 + 1 pixels, windows of 1.
        assert_eq!(after(Pool2d::new(1, 2).padding(1).ceil_mode(), 2), 1);
    }
}
