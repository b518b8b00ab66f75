//! Errors on their way from one process to others.

use serde::{Deserialize, Serialize};

use crate::error::{Error, exit_code};

/// What is left of an error on its way.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Told {
    code: u8,
    message: String,
}

impl Told {
    pub(super) fn of(error: &anyhow::Error) -> Self {
        Self {
            code: exit_code(error),
            message: format!("{error:#}"),
        }
    }

    /// The error, with words in front that say where it comes from.
    pub(super) fn into_error(self, from: &str) -> anyhow::Error {
        let message = format!("{from}{}", self.message);
        match self.code {
            1 => Error::Gate(message).into(),
            2 => Error::Usage(message).into(),
            3 => Error::Data(message).into(),
            4 => Error::Environment(message).into(),
            130 => Error::Interrupted(message).into(),
            _ => anyhow::anyhow!(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_its_kind_and_its_words() {
        let errors = [
            Error::Gate("a".into()).into(),
            Error::Usage("a".into()).into(),
            Error::Data("a".into()).into(),
            Error::Environment("a".into()).into(),
            Error::Interrupted("a".into()).into(),
            anyhow::anyhow!("a"),
        ];
        for error in errors {
            let told = serde_json::to_vec(&Told::of(&error)).unwrap();
            let told: Told = serde_json::from_slice(&told).unwrap();
            let heard = told.into_error("process 1: ");
            assert_eq!(exit_code(&heard), exit_code(&error));
            assert_eq!(heard.to_string(), "process 1: a");
        }
    }
}
