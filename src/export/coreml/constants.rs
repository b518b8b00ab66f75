//! Constants of a program, and its last operator.

use std::collections::BTreeMap;

use half::f16;

use super::blobs;
use super::proto::{
    Argument, Binding, Blob, Bools, Bound, Bytes, Content, DictionaryType, Floats, Immediate, Ints,
    Items, List, ListType, Named, Operation, Side, Stored, Type, Value, ValueType, dtype,
};
use super::writer::{Computed, Input, Writer};
use super::{LABEL, PROBABILITIES, WEIGHT_FILE};
use crate::error::Result;
use crate::export::layout::check_half;
use crate::labels::Labels;
use crate::weights::Tensor;

/// Smaller tensors are in the program itself, as in Apple's converter's.
const SMALLEST_BLOB: usize = 10;

impl Writer<'_> {
    /// The last operator: labels for probabilities.
    pub(super) fn classify(&mut self, probabilities: &Computed, labels: &Labels) {
        let text = ValueType::tensor(dtype::STRING, &[]);
        let names = labels.names().iter();
        let list = List {
            values: names.map(|label| Value::text(label)).collect(),
        };
        let kind = Type::List(Box::new(ListType {
            element: Some(text.clone()),
            length: Some(Side::new(labels.len())),
        }));
        let classes = Value {
            kind: Some(ValueType { kind: Some(kind) }),
            content: Some(Content::Immediate(Immediate {
                items: Some(Items::List(list)),
            })),
        };
        let bound = |bound| Argument {
            bindings: vec![Binding { bound: Some(bound) }],
        };
        let dictionary = Type::Dictionary(Box::new(DictionaryType {
            keys: Some(text.clone()),
            values: Some(ValueType::tensor(dtype::FLOAT64, &[])),
        }));
        let named = |name: &str, kind| Named {
            name: name.into(),
            kind: Some(kind),
        };
        let name = Bound::Name(probabilities.name.clone());
        self.operations.push(Operation {
            kind: "classify".into(),
            inputs: BTreeMap::from([
                ("probabilities".into(), bound(name)),
                ("classes".into(), bound(Bound::Value(classes))),
            ]),
            outputs: vec![
                named(LABEL, text),
                named(
                    PROBABILITIES,
                    ValueType {
                        kind: Some(dictionary),
                    },
                ),
            ],
            attributes: BTreeMap::from([("name".into(), Value::text("classify"))]),
        });
    }

    /// Adds a constant; gives its name.
    pub(super) fn constant(
        &mut self,
        name: String,
        input: &Input<'_>,
        element: i32,
    ) -> Result<String> {
        let name = self.unique(&name);
        let value = match input {
            Input::Value(_) | Input::Values(_) => unreachable!("values are computed"),
            Input::Ints(ints) => {
                let values = ints.clone();
                Value::immediate(dtype::INT32, &[ints.len()], Stored::Ints(Ints { values }))
            }
            Input::Int(int) => {
                let values = vec![*int];
                Value::immediate(dtype::INT32, &[], Stored::Ints(Ints { values }))
            }
            Input::Bool(bool) => {
                let values = vec![*bool];
                Value::immediate(dtype::BOOL, &[], Stored::Bools(Bools { values }))
            }
            Input::Text(text) => Value::text(text),
            Input::Float(float) => floats(element, &[], &[*float]),
            Input::Tensor(tensor) => self.tensor(&name, tensor, element)?,
        };
        self.operations.push(Operation {
            kind: "const".into(),
            inputs: BTreeMap::new(),
            outputs: vec![Named {
                name: name.clone(),
                kind: value.kind.clone(),
            }],
            attributes: BTreeMap::from([
                ("name".into(), Value::text(&name)),
                ("val".into(), value),
            ]),
        });
        Ok(name)
    }

    /// A name of letters, digits and underscores that nothing else has.
    pub(super) fn unique(&mut self, name: &str) -> String {
        let mut own = name.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
        if own.starts_with(|c: char| c.is_ascii_digit()) {
            own.insert(0, '_');
        }
        while !self.names.insert(own.clone()) {
            own.push('_');
        }
        own
    }

    fn tensor(&mut self, name: &str, tensor: &Tensor, element: i32) -> Result<Value> {
        let values = tensor.as_f32().unwrap_or_default();
        let is_half = element == dtype::FLOAT16;
        if is_half {
            check_half(name, values)?;
        }
        if tensor.len() < SMALLEST_BLOB {
            return Ok(floats(element, &tensor.shape, values));
        }
        let offset = match is_half {
            true => {
                let halves = values.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes());
                self.blobs.push(blobs::FLOAT16, halves)
            }
            false => {
                let floats = values.iter().flat_map(|x| x.to_le_bytes());
                self.blobs.push(blobs::FLOAT32, floats)
            }
        };
        let file = WEIGHT_FILE.into();
        Ok(Value {
            kind: Some(ValueType::tensor(element, &tensor.shape)),
            content: Some(Content::Blob(Blob { file, offset })),
        })
    }
}

/// Numbers in the program itself.
fn floats(element: i32, shape: &[usize], values: &[f32]) -> Value {
    let stored = match element == dtype::FLOAT16 {
        true => {
            let halves = values.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes());
            let values = halves.collect();
            Stored::Bytes(Bytes { values })
        }
        false => {
            let values = values.to_vec();
            Stored::Floats(Floats { values })
        }
    };
    Value::immediate(element, shape, stored)
}
