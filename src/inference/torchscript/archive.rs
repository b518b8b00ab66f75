//! Writes TorchScript archives: a zip of code and pickled attributes that libtorch compiles.

use std::borrow::Cow;
use std::io::Cursor;

use crate::error::Result;
use crate::weights::Tensor;
use crate::weights::archive::Archive;
use crate::weights::pickler::Pickler;

/// Pickle of an empty tuple.
const NO_CONSTANTS: &[u8] = b"\x80\x02).";

/// A class `Net` of TorchScript.
#[derive(Debug, Default)]
pub struct Module<'a> {
    /// Tensor attributes with their names, `self.NAME` in the methods.
    pub attributes: Vec<(String, Cow<'a, Tensor>)>,
    /// Methods in TorchScript's own syntax, indented by two spaces.
    pub methods: String,
    /// Statements, indented by four spaces, that change the attributes once the module is loaded:
    /// the method `prepare`, which a module without any lacks.
    pub prepare: String,
    /// Files beside the code, which `torch.jit.load` gives back by name.
    pub extra: Vec<(String, Vec<u8>)>,
}

impl<'a> Module<'a> {
    /// A module without attributes.
    pub fn of_methods(methods: impl Into<String>) -> Self {
        Self {
            methods: methods.into(),
            ..Self::default()
        }
    }

    /// The same code without its tensors, and the tensors. The method `fill` takes them as a list, so
    /// that their bytes are not in memory once more as an archive.
    pub fn without_tensors(self) -> (Module<'static>, Vec<Cow<'a, Tensor>>) {
        let mut methods = self.methods;
        methods.push_str("  def fill(self: __torch__.Net, w: List[Tensor]) -> NoneType:\n");
        let mut attributes = Vec::new();
        let mut tensors = Vec::new();
        for (index, (name, tensor)) in self.attributes.into_iter().enumerate() {
            methods.push_str(&format!("    self.{name} = w[{index}]\n"));
            attributes.push((name, Cow::Owned(Tensor::f32([0], Vec::new()))));
            tensors.push(tensor);
        }
        methods.push_str("    return None\n");
        let module = Module {
            attributes,
            methods,
            prepare: self.prepare,
            extra: self.extra,
        };
        (module, tensors)
    }

    /// The archive in memory. The same module gives the same bytes.
    ///
    /// # Errors
    /// For a tensor that PyTorch has no storage class for.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut archive = Archive::new(Cursor::new(Vec::new()), "net");
        archive.member("data.pkl")?.write_all(&self.pickle()?)?;
        let code = self.code();
        archive
            .member("code/__torch__.py")?
            .write_all(code.as_bytes())?;
        archive.member("constants.pkl")?.write_all(NO_CONSTANTS)?;
        archive.member("version")?.write_all(b"3\n")?;
        for (name, content) in &self.extra {
            archive
                .member(&format!("extra/{name}"))?
                .write_all(content)?;
        }
        for (key, (_, tensor)) in self.attributes.iter().enumerate() {
            tensor
                .values
                .write(archive.member(&format!("data/{key}"))?)?;
        }
        Ok(archive.finish()?.into_inner())
    }

    fn code(&self) -> String {
        let mut code = String::from("class Net(Module):\n  __parameters__ = []\n");
        code.push_str("  __buffers__ = []\n");
        if !self.attributes.is_empty() {
            code.push_str("  training : bool\n");
        }
        for (name, _) in &self.attributes {
            code.push_str(&format!("  {name} : Tensor\n"));
        }
        code.push_str(self.methods.trim_matches('\n'));
        code.push('\n');
        if !self.prepare.is_empty() {
            code.push_str("  def prepare(self: __torch__.Net) -> NoneType:\n");
            code.push_str(&self.prepare);
            code.push_str("    return None\n");
        }
        code
    }

    /// An object of class `Net` with the attributes in the order of the class.
    fn pickle(&self) -> Result<Vec<u8>> {
        let mut pickler = Pickler::new();
        pickler.global("__torch__", "Net").raw(b")\x81}");
        if !self.attributes.is_empty() {
            pickler.raw(b"(").text("training").bool(false);
            for (key, (name, tensor)) in self.attributes.iter().enumerate() {
                pickler.text(name);
                pickler.tensor(&key.to_string(), tensor.dtype(), &tensor.shape)?;
            }
            pickler.raw(b"u");
        }
        pickler.raw(b"b");
        Ok(pickler.finish())
    }
}
