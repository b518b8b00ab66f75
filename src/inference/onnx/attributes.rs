//! Attributes of a node, every one of which has to be understood.

use anyhow::{bail, ensure};

use super::proto::{Attribute, Node};
use crate::error::Result;

/// ONNX's numbers for kinds of attributes.
const FLOAT: i32 = 1;
const INT: i32 = 2;
const INTS: i32 = 7;

/// What is left to read of a node's attributes.
pub(super) struct Attributes<'a>(Vec<&'a Attribute>);

impl<'a> Attributes<'a> {
    pub(super) fn of(node: &'a Node) -> Self {
        Self(node.attribute.iter().collect())
    }

    pub(super) fn int(&mut self, name: &str) -> Result<Option<i64>> {
        let found = self.take(name, INT)?;
        Ok(found.map(|attribute| attribute.i.unwrap_or_default()))
    }

    pub(super) fn float(&mut self, name: &str, default: f64) -> Result<f64> {
        let found = self.take(name, FLOAT)?;
        let value = found.map(|attribute| attribute.f.unwrap_or_default().into());
        Ok(value.unwrap_or(default))
    }

    pub(super) fn ints<const N: usize>(&mut self, name: &str) -> Result<Option<[i64; N]>> {
        let Some(attribute) = self.take(name, INTS)? else {
            return Ok(None);
        };
        match <[i64; N]>::try_from(&*attribute.ints) {
            Ok(values) => Ok(Some(values)),
            Err(_) => bail!("{name} is {:?}, not {N} integers", attribute.ints),
        }
    }

    /// As many as there are.
    pub(super) fn all_ints(&mut self, name: &str) -> Result<Option<&'a [i64]>> {
        let found = self.take(name, INTS)?;
        Ok(found.map(|attribute| &*attribute.ints))
    }

    /// Whether an attribute is there that nobody asked for.
    pub(super) fn finish(self) -> Result<()> {
        match &*self.0 {
            [] => Ok(()),
            [attribute, ..] => bail!("attribute {} is not supported", attribute.name),
        }
    }

    fn take(&mut self, name: &str, kind: i32) -> Result<Option<&'a Attribute>> {
        let found = self.0.iter().position(|attribute| attribute.name == name);
        let found = found.map(|index| self.0.remove(index));
        if let Some(attribute) = found {
            let found = attribute.kind;
            ensure!(found == kind, "{name} is of kind {found}, not {kind}");
        }
        Ok(found)
    }
}
