//! The confusion matrix as a blue heat map of each row's shares.

use super::font;
use super::raster;
use super::svg::{Anchor, Ink, Rect, Svg, Text, size_to_fit};
use crate::error::{Result, shown};
use crate::metrics::Evaluation;

/// Longest class name on an axis, in pixels; longer ones end with an ellipsis.
const LONGEST_NAME: f64 = 170.0;
/// Smallest size at which a count is written into its cell, in pixels.
const SMALLEST_COUNT: f64 = 5.0;
const EDGE: f64 = 20.0;

/// The matrix as an SVG document: rows actual, columns predicted, class names on both axes.
/// A cell is shaded by its share of the row, so that classes of few images read like those of
/// many, and holds its count where that can be read; an empty cell holds nothing.
pub fn confusion_svg(evaluation: &Evaluation) -> String {
    Layout::of(evaluation).draw()
}

/// The width in pixels below which the matrix can no longer be read: its counts, or where they
/// are too small anyway the whole, would shrink too far.
pub(super) fn narrowest(evaluation: &Evaluation) -> f64 {
    const LEGIBLE: f64 = 9.0;
    let layout = Layout::of(evaluation);
    layout.width.ceil() * (LEGIBLE / layout.count_size).min(1.0)
}

/// [`confusion_svg`] as a PNG.
pub fn confusion_png(evaluation: &Evaluation) -> Result<Vec<u8>> {
    raster::png(&confusion_svg(evaluation))
}

struct Layout<'a> {
    evaluation: &'a Evaluation,
    /// Size of the counts in pixels.
    count_size: f64,
    cell: f64,
    name_size: f64,
    /// As drawn: printable and short enough.
    names: Vec<String>,
    /// One class in so many is named.
    step: usize,
    /// Angle of the names below the columns, in degrees.
    turn: f64,
    grid: Rect,
    width: f64,
    height: f64,
}

impl<'a> Layout<'a> {
    fn of(evaluation: &'a Evaluation) -> Self {
        let classes = evaluation.labels.len();
        let cell = match classes {
            0..=120 => (600.0 / classes.max(1) as f64).clamp(15.0, 76.0),
            _ => (1800.0 / classes as f64).clamp(2.0, 15.0),
        };
        let name_size = (cell * 0.6).clamp(9.0, 13.0);
        let names = evaluation.labels.names().iter();
        let names: Vec<String> = names
            .map(|name| font::fitted(&shown(name), name_size, LONGEST_NAME))
            .collect();
        let longest = names
            .iter()
            .map(|name| font::width(name, name_size))
            .fold(0.0, f64::max);
        let turn: f64 = if cell < 26.0 { -90.0 } else { -45.0 };
        let side = cell * classes as f64;
        let grid = Rect {
            x: EDGE + 26.0 + longest + 8.0,
            y: EDGE + 46.0,
            width: side,
            height: side,
        };
        let below = longest * -turn.to_radians().sin() + name_size + 8.0;
        let heading = font::width(&heading(evaluation), 12.0).max(font::width(TITLE, 17.0));
        let largest = evaluation
            .confusion
            .iter()
            .flatten()
            .copied()
            .max()
            .unwrap_or(0);
        let count_size = size_to_fit(&largest.to_string(), cell * 0.4, cell * 0.84).min(15.0);
        let bar = 22.0 + 14.0 + 6.0 + font::width("100%", 11.0) + 20.0;
        Self {
            evaluation,
            count_size,
            cell,
            name_size,
            names,
            step: ((name_size + 1.0) / cell).ceil().max(1.0) as usize,
            turn,
            grid,
            width: (grid.right() + bar + EDGE).max(heading + 2.0 * EDGE),
            height: grid.bottom() + below + 20.0 + EDGE,
        }
    }

    fn draw(&self) -> String {
        let mut svg = Svg::new(self.width, self.height, "Confusion matrix");
        svg.text(Text::at(EDGE, EDGE + 14.0, 17.0), TITLE);
        let heading = heading(self.evaluation);
        svg.text(Text::at(EDGE, EDGE + 33.0, 12.0).ink(Ink::MUTED), &heading);
        svg.rect(self.grid, Ink::PANEL, 1.0, None);
        self.draw_lines(&mut svg);
        self.draw_cells(&mut svg);
        self.draw_names(&mut svg);
        self.draw_bar(&mut svg);
        svg.finish()
    }

    /// Between the rows and the columns, for the eye to follow.
    fn draw_lines(&self, svg: &mut Svg) {
        if self.gap() == 0.0 {
            return;
        }
        let grid = self.grid;
        for index in 1..self.names.len() {
            let at = index as f64 * self.cell - self.gap() / 2.0;
            let (x, y) = (grid.x + at, grid.y + at);
            svg.line(&[(grid.x, y), (grid.right(), y)], Ink::PAPER, 1.0, false);
            svg.line(&[(x, grid.y), (x, grid.bottom())], Ink::PAPER, 1.0, false);
        }
    }

    /// Between two cells, in pixels.
    fn gap(&self) -> f64 {
        if self.cell < 8.0 { 0.0 } else { 1.0 }
    }

    fn draw_cells(&self, svg: &mut Svg) {
        let size = self.count_size;
        let gap = self.gap();
        for (actual, row) in self.evaluation.confusion.iter().enumerate() {
            let total: u64 = row.iter().sum();
            let filled = row.iter().enumerate().filter(|&(_, &count)| count > 0);
            for (predicted, &count) in filled {
                let cell = Rect {
                    x: self.grid.x + predicted as f64 * self.cell,
                    y: self.grid.y + actual as f64 * self.cell,
                    width: self.cell - gap,
                    height: self.cell - gap,
                };
                let heat = shade(count as f64 / total as f64);
                let hint = self.hint((actual, predicted), (count, total));
                svg.rect(cell, Ink::HEAT, heat, Some(&hint));
                if size >= SMALLEST_COUNT {
                    let ink = match heat > 0.5 {
                        true => Ink::ON_HEAT,
                        false => Ink::TEXT,
                    };
                    let (x, y) = (cell.x + cell.width / 2.0, cell.y + cell.height / 2.0);
                    let text = Text::at(x, y + size * 0.36, size).anchor(Anchor::Middle);
                    svg.text(text.ink(ink), &count.to_string());
                }
            }
        }
    }

    fn hint(&self, (actual, predicted): (usize, usize), (count, total): (u64, u64)) -> String {
        let name = |id| shown(self.evaluation.labels.name(id).unwrap_or_default());
        let share = 100.0 * count as f64 / total as f64;
        format!(
            "{} predicted as {}: {count} of {total} ({share:.1}%)",
            name(actual),
            name(predicted)
        )
    }

    fn draw_names(&self, svg: &mut Svg) {
        let (grid, size) = (self.grid, self.name_size);
        for (id, name) in self.names.iter().enumerate().step_by(self.step) {
            let middle = (id as f64 + 0.5) * self.cell;
            let row = Text::at(grid.x - 8.0, grid.y + middle + size * 0.35, size);
            svg.text(row.anchor(Anchor::End), name);
            let aside = if self.turn == -90.0 {
                size * 0.35
            } else {
                size * 0.5
            };
            let below = if self.turn == -90.0 {
                8.0
            } else {
                6.0 + size * 0.5
            };
            let column = Text::at(grid.x + middle + aside, grid.bottom() + below, size);
            svg.text(column.anchor(Anchor::End).rotate(self.turn), name);
        }
        let title = |x, y| Text::at(x, y, 13.0).anchor(Anchor::Middle).ink(Ink::MUTED);
        let centre = (grid.x + grid.width / 2.0, grid.y + grid.height / 2.0);
        svg.text(title(EDGE + 10.0, centre.1).rotate(-90.0), "Actual");
        svg.text(title(centre.0, self.height - EDGE + 4.0), "Predicted");
    }

    fn draw_bar(&self, svg: &mut Svg) {
        let bar = Rect {
            x: self.grid.right() + 22.0,
            width: 14.0,
            ..self.grid
        };
        svg.rect(bar, Ink::PANEL, 1.0, None);
        svg.gradient(bar, Ink::HEAT, (shade(0.0), shade(1.0)));
        for percent in [0, 25, 50, 75, 100] {
            let y = bar.bottom() - f64::from(percent) / 100.0 * bar.height + 4.0;
            let text = Text::at(bar.right() + 6.0, y, 11.0);
            svg.text(text.ink(Ink::MUTED), &format!("{percent}%"));
        }
        let aside = bar.right() + 6.0 + font::width("100%", 11.0) + 15.0;
        let title = Text::at(aside, bar.y + bar.height / 2.0, 11.0).anchor(Anchor::Middle);
        let title = title.rotate(-90.0).ink(Ink::MUTED);
        svg.text(title, &font::fitted("Share of the row", 11.0, bar.height));
    }
}

const TITLE: &str = "Confusion matrix";

fn heading(evaluation: &Evaluation) -> String {
    let accuracy = 100.0 * evaluation.accuracy;
    let images = if evaluation.n == 1 { "image" } else { "images" };
    format!("{} {images}, accuracy {accuracy:.1}%", evaluation.n)
}

/// Opacity of the blue for a share of a row. The faintest can still be told from an empty cell.
fn shade(share: f64) -> f64 {
    0.1 + 0.9 * share
}
