//! The confusion matrix as a blue heat map.

use super::font;
use super::raster;
use super::svg::{Anchor, Ink, Rect, Svg, Text, size_to_fit};
use super::ticks::count_ticks;
use crate::error::{Result, shown};
use crate::metrics::Evaluation;

/// Longest class name on an axis, in pixels; longer ones end with an ellipsis.
const LONGEST_NAME: f64 = 170.0;
/// Smallest size at which a count is written into its cell, in pixels.
const SMALLEST_COUNT: f64 = 5.0;
const EDGE: f64 = 20.0;

/// The matrix as an SVG document: rows actual, columns predicted, counts in the cells where
/// they can be read, class names on both axes.
pub fn confusion_svg(evaluation: &Evaluation) -> String {
    Layout::of(evaluation).draw()
}

/// [`confusion_svg`] as a PNG.
pub fn confusion_png(evaluation: &Evaluation) -> Result<Vec<u8>> {
    raster::png(&confusion_svg(evaluation))
}

struct Layout<'a> {
    evaluation: &'a Evaluation,
    largest: u64,
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
        let bar = 22.0 + 14.0 + 8.0 + font::width(&largest.to_string(), 11.0);
        Self {
            evaluation,
            largest,
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
        self.draw_cells(&mut svg);
        self.draw_names(&mut svg);
        self.draw_bar(&mut svg);
        svg.finish()
    }

    fn draw_cells(&self, svg: &mut Svg) {
        let size = size_to_fit(&self.largest.to_string(), self.cell * 0.4, self.cell * 0.84);
        let size = size.min(15.0);
        let zeros = self.names.len() <= 20;
        let gap = if self.cell < 8.0 { 0.0 } else { 1.0 };
        for (actual, row) in self.evaluation.confusion.iter().enumerate() {
            for (predicted, &count) in row.iter().enumerate() {
                let cell = Rect {
                    x: self.grid.x + predicted as f64 * self.cell,
                    y: self.grid.y + actual as f64 * self.cell,
                    width: self.cell - gap,
                    height: self.cell - gap,
                };
                let heat = heat(count, self.largest);
                if count > 0 {
                    let hint = self.hint(actual, predicted, count);
                    svg.rect(cell, Ink::HEAT, heat, Some(&hint));
                }
                if size >= SMALLEST_COUNT && (count > 0 || zeros) {
                    let ink = match count {
                        0 => Ink::MUTED,
                        _ if heat > 0.68 => Ink::ON_HEAT,
                        _ => Ink::TEXT,
                    };
                    let (x, y) = (cell.x + cell.width / 2.0, cell.y + cell.height / 2.0);
                    let text = Text::at(x, y + size * 0.36, size).anchor(Anchor::Middle);
                    svg.text(text.ink(ink), &count.to_string());
                }
            }
        }
    }

    fn hint(&self, actual: usize, predicted: usize, count: u64) -> String {
        let name = |id| shown(self.evaluation.labels.name(id).unwrap_or_default());
        format!("{} predicted as {}: {count}", name(actual), name(predicted))
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
        for tick in count_ticks(self.largest, bar.height / 45.0) {
            let share = tick as f64 / self.largest.max(1) as f64;
            let text = Text::at(
                bar.right() + 6.0,
                bar.bottom() - share * bar.height + 4.0,
                11.0,
            );
            svg.text(text.ink(Ink::MUTED), &tick.to_string());
        }
    }
}

const TITLE: &str = "Confusion matrix";

fn heading(evaluation: &Evaluation) -> String {
    let accuracy = 100.0 * evaluation.accuracy;
    let images = if evaluation.n == 1 { "image" } else { "images" };
    format!("{} {images}, accuracy {accuracy:.1}%", evaluation.n)
}

fn heat(count: u64, largest: u64) -> f64 {
    match count {
        0 => 0.0,
        _ => shade(count as f64 / largest as f64),
    }
}

/// Opacity of the blue for a share of the largest count. The faintest can still be told from
/// an empty cell.
fn shade(share: f64) -> f64 {
    0.1 + 0.9 * share
}
