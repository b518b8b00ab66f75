//! An evaluation as a JUnit report, which continuous integration shows as tests.

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::evaluation::Evaluation;
use super::gates::GateResult;
use crate::error::{Result, shown};

/// A JUnit XML document with two suites: `gates`, where a missed gate is a failure, and
/// `classes`, which passes and holds each class's metrics as output.
pub fn junit(evaluation: &Evaluation, gates: &[GateResult]) -> Result<String> {
    let mut report = Report::new("flowers eval");
    report.add_test_suite(gate_suite(gates));
    report.add_test_suite(class_suite(evaluation));
    Ok(report.to_string()?)
}

fn gate_suite(gates: &[GateResult]) -> TestSuite {
    let mut suite = TestSuite::new("gates");
    for gate in gates {
        let found = format!("{:.6}, required {:.6}", gate.actual, gate.required);
        let status = match gate.passed {
            true => TestCaseStatus::success(),
            false => {
                let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                status
                    .set_type("gate")
                    .set_message(format!("{} is {found}", gate.name));
                status
            }
        };
        let mut case = TestCase::new(gate.name, status);
        case.set_classname("gates").set_system_out(found);
        suite.add_test_case(case);
    }
    suite
}

fn class_suite(evaluation: &Evaluation) -> TestSuite {
    let mut suite = TestSuite::new("classes");
    for class in &evaluation.per_class {
        let mut case = TestCase::new(shown(&class.class), TestCaseStatus::success());
        case.set_classname("classes").set_system_out(format!(
            "precision {:.6}, recall {:.6}, f1 {:.6}, support {}",
            class.precision, class.recall, class.f1, class.support
        ));
        suite.add_test_case(case);
    }
    suite
}
