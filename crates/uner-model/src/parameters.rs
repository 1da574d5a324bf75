//! Visits a model's parameters by checkpoint name.
//!
//! Tensors are passed flat, `[n]`: work on parameters outside the model (accumulating, updating,
//! saving) is element-wise, and one tensor rank keeps it free of shape generics. Empty tensors,
//! such as the weight of a quantised layer, are not parameters and are skipped.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Gradients, Tensor};

/// A parameter, as [`visit`] passes it.
#[derive(Debug)]
pub struct Parameter {
    /// Checkpoint name, such as `model.layers.0.mlp.up_proj.weight`.
    pub name: String,
    /// Its shape in the checkpoint.
    pub shape: Vec<usize>,
    /// Its values, flat: `[n]`.
    pub values: Tensor<1>,
}

/// Calls `show` with every parameter of `module`, in a fixed order. `prefix` is the module's own
/// name (empty for the whole model).
pub fn visit(module: &impl Module, prefix: &str, show: impl FnMut(Parameter)) {
    module.visit(&mut Visitor { path: Path::new(prefix), show });
}

/// Returns names and lengths of the parameters that get gradients: all, or the adapter's factors
/// alone.
pub fn trained<M: Module>(module: &M, prefix: &str) -> Vec<(String, usize)> {
    let mut names = Vec::new();
    // Parameters say whether they get gradients only after `train`, which turns on autodiff.
    let mut visitor = Trained { path: Path::new(prefix), names: &mut names };
    module.clone().train().visit(&mut visitor);
    names
}

/// Replaces the values of every parameter of `module` by the result of `change`, which gets name,
/// shape and values (`[n]` to `[n]`). It owns the values, so it can change them in place.
pub fn map<M: Module>(
    module: M,
    prefix: &str,
    change: impl FnMut(&str, &[usize], Tensor<1>) -> Tensor<1>,
) -> M {
    module.map(&mut Mapper { path: Path::new(prefix), change })
}

/// Removes the gradient of every parameter of `module` from `gradients` and calls `take` with it,
/// flat. Parameters without a gradient are skipped.
pub fn take_gradients(
    module: &impl Module,
    prefix: &str,
    gradients: &mut Gradients,
    take: impl FnMut(&str, Tensor<1>),
) {
    module.visit(&mut Taker { path: Path::new(prefix), gradients, take });
}

/// The name of the module that is being visited.
struct Path(Vec<String>);

impl Path {
    fn new(prefix: &str) -> Self {
        Self(prefix.split('.').filter(|part| !part.is_empty()).map(str::to_owned).collect())
    }

    fn enter(&mut self, name: &str) {
        self.0.push(name.to_owned());
    }

    fn exit(&mut self) {
        self.0.pop();
    }

    fn name(&self) -> String {
        self.0.join(".")
    }
}

struct Visitor<F> {
    path: Path,
    show: F,
}

impl<F: FnMut(Parameter)> ModuleVisitor for Visitor<F> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let values = param.val();
        let shape = values.dims().to_vec();
        if shape.contains(&0) {
            return;
        }
        (self.show)(Parameter { name: self.path.name(), shape, values: values.reshape([-1]) });
    }
}

struct Trained<'a> {
    path: Path,
    names: &'a mut Vec<(String, usize)>,
}

impl ModuleVisitor for Trained<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let values = param.val();
        if values.is_require_grad() {
            self.names.push((self.path.name(), values.dims().iter().product()));
        }
    }
}

struct Mapper<F> {
    path: Path,
    change: F,
}

impl<F: FnMut(&str, &[usize], Tensor<1>) -> Tensor<1>> ModuleMapper for Mapper<F> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if param.dims().contains(&0) {
            return param;
        }
        let name = self.path.name();
        param.map(|values| {
            let shape = values.dims();
            (self.change)(&name, &shape, values.reshape([-1])).reshape(shape)
        })
    }
}

struct Taker<'a, F> {
    path: Path,
    gradients: &'a mut Gradients,
    take: F,
}

impl<F: FnMut(&str, Tensor<1>)> ModuleVisitor for Taker<'_, F> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = param.val().grad_remove(self.gradients) {
            (self.take)(&self.path.name(), gradient.reshape([-1]));
        }
    }
}
