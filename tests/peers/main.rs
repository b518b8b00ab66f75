//! Tests beside others' programs and data. Without these they are counted as ignored, and say what
//! they lack: `make test-real` gets what can be got.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]
// Shared with the other tests, which use all of it.
#![allow(dead_code)]

mod apps;
mod examples;
mod exported;
#[path = "../it/golden.rs"]
mod golden;
#[path = "../it/http.rs"]
mod http;
#[path = "../it/known.rs"]
mod known;
mod manifests;
mod needs;
#[path = "../it/networks.rs"]
mod networks;
mod published;
mod readme;
mod real;
#[path = "../it/server.rs"]
mod server;
mod shells;
#[path = "../it/support.rs"]
mod support;
mod web;
#[path = "../browser/webdriver.rs"]
mod webdriver;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};
use needs::Need::{
    self, Browser, Grammars, Kubernetes, MediaPipe, OnnxRuntime, OwnModel, Photos, Runtimes, Shell,
    TensorFlow, Torchvision, Weights,
};

/// Each test by its name, with what it needs.
macro_rules! trials {
    ($($module:ident::$test:ident: $needs:expr;)*) => {
        vec![$(trial(concat!(stringify!($module), "::", stringify!($test)), &$needs, $module::$test)),*]
    };
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Each of them uses every core.
    arguments.test_threads = arguments.test_threads.or(Some(1));
    let trials = trials! {
        shells::bash_parses_its_completions: [Shell("bash")];
        shells::zsh_parses_its_completions: [Shell("zsh")];
        manifests::manifests_are_valid_and_serve: [Kubernetes];
        published::published_weights_load: [Weights];
        published::published_weights_give_the_published_logits: [Weights];
        readme::the_onnx_example_answers_as_predict: [OnnxRuntime];
        exported::every_architecture_and_opset_is_answered_alike: [Runtimes];
        exported::other_families_are_answered_alike_in_onnx_runtime: [Runtimes];
        exported::tensorflow_keras_and_coremltools_answer_alike: [TensorFlow];
        exported::mediapipe_classifies_alike: [MediaPipe];
        exported::a_model_of_ones_own_is_answered_alike: [OwnModel, Runtimes];
        examples::examples_of_torch_run: [Runtimes];
        examples::examples_of_tensorflow_run: [TensorFlow];
        examples::the_example_of_core_ml_parses: [Grammars];
        apps::the_example_apps_parse: [Grammars];
        web::the_page_answers_as_predict: [Browser];
        real::real_photos_are_learned_in_a_few_epochs: [Weights, Photos];
        real::exports_answer_alike_on_real_photos: [Weights, Photos, Runtimes];
        real::tensorflow_answers_alike_on_real_photos: [Weights, Photos, TensorFlow];
        real::int8_exports_answer_alike_on_real_photos: [Weights, Photos, Runtimes];
        real::torchvision_answers_alike_on_real_photos: [Weights, Photos, Torchvision];
    };
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial(name: &str, needs: &[Need], test: fn()) -> Trial {
    let lacking = needs.iter().find(|need| !need.is_met());
    let run = move || {
        test();
        Ok(())
    };
    let trial = Trial::test(name, run).with_ignored_flag(lacking.is_some());
    match lacking {
        Some(need) => trial.with_kind(format!("needs {}", need.name())),
        None => trial,
    }
}
