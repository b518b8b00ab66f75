//! Operators that formats write in several parts: normalisation over channels, GELU, and the shuffling of
//! channels.

use std::f32::consts::FRAC_1_SQRT_2;

use anyhow::bail;

use super::{Assembly, Value};
use crate::error::Result;
use crate::graph::{Activation, LayerNorm, Op};
use crate::weights::Tensor;

/// What has been computed of a value, or how it has been arranged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::export) enum Piece {
    /// Of its channels.
    Mean,
    /// Less the mean of its channels.
    Centred,
    /// The square of that.
    Squared,
    /// The mean of that.
    Variance,
    /// The variance and a number.
    Raised(f32),
    /// One divided by the root of that.
    Deviation(f32),
    /// Divided by the root of 2.
    OverRoot,
    /// The error function of that.
    Erf,
    /// And one.
    ErfAndOne,
    /// Times the value.
    TwiceGelu,
    /// Its channels as rows of groups.
    Groups(usize),
    /// As columns of groups.
    Shuffled(usize),
}

impl Value {
    /// # Errors
    /// When it is but a part of an operator.
    pub(super) fn is_whole(&self) -> Result<()> {
        match self.piece {
            None => Ok(()),
            Some(piece) => bail!("only the part {piece:?} of an operator"),
        }
    }

    fn with(self, piece: Piece) -> Self {
        Self {
            piece: Some(piece),
            ..self
        }
    }
}

impl Assembly {
    /// The mean over the channels.
    ///
    /// # Errors
    /// When it is no part of an operator.
    pub(in crate::export) fn mean_of_channels(&self, x: Value) -> Result<Value> {
        match (x.piece, x.around) {
            (None, None) => Ok(x.with(Piece::Mean)),
            (Some(Piece::Squared), None) => Ok(x.with(Piece::Variance)),
            (piece, _) => bail!("the mean of {piece:?}"),
        }
    }

    /// # Errors
    /// When it is no part of an operator.
    pub(in crate::export) fn difference(&self, x: Value, y: Value) -> Result<Value> {
        match (x.piece, y.piece) {
            (None, Some(Piece::Mean)) if x.node == y.node => Ok(x.with(Piece::Centred)),
            pieces => bail!("the difference of {pieces:?}"),
        }
    }

    /// One divided by the square root.
    ///
    /// # Errors
    /// When it is no part of an operator.
    pub(in crate::export) fn reciprocal_root(&self, x: Value) -> Result<Value> {
        match x.piece {
            Some(Piece::Raised(eps)) => Ok(x.with(Piece::Deviation(eps))),
            piece => bail!("the root of {piece:?}"),
        }
    }

    /// The error function.
    ///
    /// # Errors
    /// When it is no part of an operator.
    pub(in crate::export) fn erf(&self, x: Value) -> Result<Value> {
        match x.piece {
            Some(Piece::OverRoot) => Ok(x.with(Piece::Erf)),
            piece => bail!("the error function of {piece:?}"),
        }
    }

    /// The product of two values.
    ///
    /// # Errors
    /// When one of them is but a part of an operator, and so is not their product.
    pub(in crate::export) fn product(&mut self, name: &str, x: Value, y: Value) -> Result<Value> {
        if x.piece.is_none() && y.piece.is_none() {
            return self.operator(name, Op::Mul, &[x, y]);
        }
        match (x.piece, y.piece) {
            _ if x.node != y.node => bail!("the product of parts of two operators"),
            (Some(Piece::Centred), Some(Piece::Centred)) => Ok(x.with(Piece::Squared)),
            (Some(Piece::Centred), Some(Piece::Deviation(eps))) => {
                let x = Value { piece: None, ..x };
                self.layer_norm(name, x, eps.into(), None)
            }
            (None, Some(Piece::ErfAndOne)) => Ok(y.with(Piece::TwiceGelu)),
            pieces => bail!("the product of {pieces:?}"),
        }
    }

    /// The sum or product of a value and a constant, which has one number for each channel or for all.
    ///
    /// # Errors
    /// When there are neither as many numbers as channels nor one, or it is no part of an operator.
    pub(in crate::export) fn with_constant(
        &mut self,
        name: &str,
        x: Value,
        constant: &[f32],
        is_sum: bool,
    ) -> Result<Value> {
        match (x.piece, constant) {
            (Some(Piece::Variance), &[eps]) if is_sum => Ok(x.with(Piece::Raised(eps))),
            (Some(Piece::Erf), [1.0]) if is_sum => Ok(x.with(Piece::ErfAndOne)),
            (Some(Piece::TwiceGelu), [0.5]) if !is_sum => {
                let x = Value { piece: None, ..x };
                self.activation(name, Activation::Gelu, x)
            }
            (None, [FRAC_1_SQRT_2]) if !is_sum => Ok(x.with(Piece::OverRoot)),
            (None, shift) if is_sum => self.per_channel(name, x, &[1.0], shift),
            (None, scale) => self.per_channel(name, x, scale, &[0.0]),
            (Some(piece), _) => bail!("{piece:?} with {constant:?}"),
        }
    }

    /// A normalisation over the channels, by weight and bias, or by 1 and 0.
    ///
    /// # Errors
    /// When its input is padded.
    pub(in crate::export) fn layer_norm(
        &mut self,
        name: &str,
        x: Value,
        eps: f64,
        parameters: Option<[Vec<f32>; 2]>,
    ) -> Result<Value> {
        let features = self.channels(x)?;
        let norm = LayerNorm { features, eps };
        let value = self.operator(name, Op::LayerNorm(norm), &[x])?;
        let parameters = parameters.unwrap_or([1.0, 0.0].map(|value| vec![value; features]));
        for (part, values) in ["weight", "bias"].into_iter().zip(parameters) {
            self.parameter(value, part, Tensor::f32([values.len()], values));
        }
        Ok(value)
    }

    /// A map whose channels become rows of `groups`.
    ///
    /// # Errors
    /// When it is part of another operator.
    pub(in crate::export) fn in_groups(&self, x: Value, groups: usize) -> Result<Value> {
        x.is_whole()?;
        Ok(x.with(Piece::Groups(groups)))
    }

    /// Rows and columns of groups change places.
    ///
    /// # Errors
    /// When there are no rows of groups.
    pub(in crate::export) fn swapped(&self, x: Value) -> Result<Value> {
        match x.piece {
            Some(Piece::Groups(groups)) => Ok(x.with(Piece::Shuffled(groups))),
            piece => bail!("{piece:?} with swapped axes"),
        }
    }

    /// Groups become the channels of a map.
    ///
    /// # Errors
    /// When they are not shuffled.
    pub(in crate::export) fn joined(&mut self, name: &str, x: Value) -> Result<Value> {
        match x.piece {
            Some(Piece::Shuffled(groups)) => {
                let x = Value { piece: None, ..x };
                self.operator(name, Op::ChannelShuffle { groups }, &[x])
            }
            piece => bail!("{piece:?} as a map"),
        }
    }

    /// `count` channels from `start` on.
    ///
    /// # Errors
    /// When its input is padded.
    pub(in crate::export) fn slice(
        &mut self,
        name: &str,
        x: Value,
        start: usize,
        count: usize,
    ) -> Result<Value> {
        let end = start.saturating_add(count);
        self.operator(name, Op::Slice { start, end }, &[x])
    }
}
