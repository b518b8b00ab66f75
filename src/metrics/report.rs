//! Metrics of every class as a table.

use unicode_width::UnicodeWidthStr;

use super::evaluation::Evaluation;
use super::per_class::{ClassMetrics, macro_mean, weighted_mean};
use crate::error::shown;

impl Evaluation {
    /// The table of `sklearn.metrics.classification_report(.., labels=.., zero_division=0)`, with
    /// `digits` decimals (scikit-learn's default is 2): the same text for ASCII names. Wide names
    /// are aligned by their width on a terminal, control characters are escaped.
    pub fn classification_report(&self, digits: usize) -> String {
        let classes = &self.per_class;
        let names: Vec<String> = classes.iter().map(|class| shown(&class.class)).collect();
        let longest = names.iter().map(|name| name.width()).max().unwrap_or(0);
        let width = longest.max("weighted avg".len()).max(digits);
        let head = |name: &str| format!("{}{name} ", " ".repeat(width - name.width().min(width)));
        let number = |value: f64| format!(" {value:>9.digits$}");
        let row = |name: &str, values: [f64; 3], support: u64| {
            let values: String = values.into_iter().map(number).collect();
            format!("{}{values} {support:>9}\n", head(name))
        };
        let n = self.n;

        let titles =
            ["precision", "recall", "f1-score", "support"].map(|title| format!(" {title:>9}"));
        let mut text = format!("{}{}\n\n", head(""), titles.concat());
        for (name, class) in names.iter().zip(classes) {
            text += &row(
                name,
                [class.precision, class.recall, class.f1],
                class.support,
            );
        }
        let accuracy = number(self.accuracy);
        text += &format!(
            "\n{} {:>9} {:>9}{accuracy} {n:>9}\n",
            head("accuracy"),
            "",
            ""
        );
        let metrics = [
            |class: &ClassMetrics| class.precision,
            |class: &ClassMetrics| class.recall,
            |class: &ClassMetrics| class.f1,
        ];
        text += &row(
            "macro avg",
            metrics.map(|metric| macro_mean(classes, metric)),
            n,
        );
        text + &row(
            "weighted avg",
            metrics.map(|metric| weighted_mean(classes, metric)),
            n,
        )
    }
}
