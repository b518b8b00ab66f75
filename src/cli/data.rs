//! Arguments of `flowers data`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::data::source::PartFolder;
use crate::data::{Part, Source};
use crate::error::{Error, Result};
use crate::values;

#[derive(Debug, Clone, Subcommand)]
pub enum DataCommand {
    /// Look for problems: unreadable files, duplicates, leaks, tiny photos, imbalance
    Check(CheckArgs),
    /// Assign photos to training, validation and test, and save the result
    Split(SplitArgs),
    /// Generate a synthetic data set of up to ten kinds of flowers
    Sample(SampleArgs),
}

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Accepted layouts: DATA/<class>/*, DATA/{train,val,test}/<class>/* and names like these (seg_train, \
test_images), DATA/<class>/{train,val,test}/*, and a CSV file of labels. Hidden and system files and \
files that are not images are skipped.

Every photo is read, hashed and decoded, even if the cache has results for it. train and data split do \
so only for photos that are new or have changed since the last scan. eval, quantize, export \
and train --resume read only the headers of those where that suffices: unsupported \
formats, excessive dimensions and truncated files are found at once, other damage on loading.

Examples:
  flowers data check photos
  flowers data check --train-dir photos/a --test-dir photos/b
  flowers data check photos --labels labels.csv
  flowers data check photos --json | jq '.findings[].message'

Exit code: 0 if the data set can be trained on, 3 if not.")]
pub struct CheckArgs {
    #[command(flatten)]
    pub source: SourceArgs,
    #[command(flatten)]
    pub bad: MaxBad,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Photos are assigned by their content, class by class: renaming files changes nothing, identical \
files always end up in the same part, photos of a class that look the same are kept together, and \
adding photos moves few of the others. If DATA already has parts (train, val, test), they are kept, \
and missing ones are taken from train.

Examples:
  flowers data split photos --out split.json
  flowers data split photos --out split.json --val 0.1 --test 0.2 --seed 7")]
pub struct SplitArgs {
    #[command(flatten)]
    pub source: SourceArgs,
    /// Split manifest to write; must not exist yet
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Fraction of each class to use for validation
    #[arg(long, value_name = "FRACTION", default_value_t = 0.15, value_parser = values::number)]
    pub val: f64,
    /// Fraction of each class to use for testing
    #[arg(long, value_name = "FRACTION", default_value_t = 0.15, value_parser = values::number)]
    pub test: f64,
    /// Random seed: a different seed gives a different split
    #[arg(long, default_value_t = 0, value_parser = values::seed)]
    pub seed: u64,
    #[command(flatten)]
    pub bad: MaxBad,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
The kinds of flowers differ in shape, not only in colour; light, pose and background vary.

Examples:
  flowers data sample flowers-sample
  flowers data sample flowers-sample --classes 3 --per-class 20 --size 128")]
pub struct SampleArgs {
    /// Folder to create; must be new or empty
    pub dir: PathBuf,
    /// Number of classes, 2 to 10
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = values::count)]
    pub classes: usize,
    /// Images per class
    #[arg(long, value_name = "N", default_value_t = 80, value_parser = values::count)]
    pub per_class: usize,
    /// Width and height of the images in pixels
    #[arg(long, value_name = "PIXELS", default_value_t = 256, value_parser = values::whole::<u32>(0..=u32::MAX.into()))]
    pub size: u32,
    /// Random seed: a different seed gives different images
    #[arg(long, default_value_t = 0, value_parser = values::seed)]
    pub seed: u64,
}

/// Where the photos of a data set are: a folder, a folder for each part, or a file of labels.
#[derive(Debug, Clone, Default, Args)]
pub struct SourceArgs {
    /// Data set folder, with a subfolder for each class, or with train, val and test folders that
    /// hold those; or a CSV file of labels
    #[arg(value_name = "DATA")]
    pub data: Option<PathBuf>,
    /// Folder of the photos to train on, with a subfolder for each class; in place of DATA
    #[arg(long, value_name = "DIR", conflicts_with_all = ["data", "labels"])]
    pub train_dir: Option<PathBuf>,
    /// Folder of the photos to validate on
    #[arg(long, value_name = "DIR", conflicts_with_all = ["data", "labels"])]
    pub val_dir: Option<PathBuf>,
    /// Folder of the photos to test on
    #[arg(long, value_name = "DIR", conflicts_with_all = ["data", "labels"])]
    pub test_dir: Option<PathBuf>,
    /// CSV file with a line for each photo and the columns file, label and, if the photos are
    /// split, split (train, val or test; train where it is empty); files are looked for in DATA, or
    /// beside the CSV file
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,
}

impl SourceArgs {
    /// What the arguments name; `None` when they name nothing.
    pub fn source(&self) -> Option<Source> {
        match (&self.data, &self.labels) {
            (Some(root), Some(table)) => {
                return Some(Source::Listed {
                    root: root.clone(),
                    table: table.clone(),
                });
            }
            (Some(data), None) => return Some(Source::from(&**data)),
            (None, Some(table)) => return Some(Source::listed(table)),
            (None, None) => {}
        }
        let parts = [
            (Part::Train, &self.train_dir),
            (Part::Val, &self.val_dir),
            (Part::Test, &self.test_dir),
        ];
        let given = parts.into_iter().filter_map(|(part, path)| {
            let path = path.clone()?;
            Some(PartFolder { part, path })
        });
        let given: Vec<_> = given.collect();
        (!given.is_empty()).then_some(Source::Parts(given))
    }

    /// What the arguments name.
    ///
    /// # Errors
    /// [`Error::Usage`] when they name nothing.
    pub fn named(&self) -> Result<Source> {
        let message = "DATA is missing: give a data set folder, or --train-dir and --test-dir";
        let missing = || Error::Usage(message.into()).into();
        self.source().ok_or_else(missing)
    }
}

/// How many unreadable photos are tolerated, for every command that reads a data set.
#[derive(Debug, Clone, Copy, Args)]
pub struct MaxBad {
    /// Largest tolerated fraction of unreadable or damaged photos, 0 to 1; up to 5 photos are
    /// tolerated in any case, except at 0
    #[arg(long, value_name = "FRACTION", default_value_t = 0.01, value_parser = values::fraction)]
    pub max_bad: f64,
}
