//! Arguments of `flowers data`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Clone, Subcommand)]
pub enum DataCommand {
    /// Look for what spoils a training: unreadable files, duplicates, leaks, tiny photos, imbalance
    Check(CheckArgs),
    /// Write down which photos are for training, validation and test
    Split(SplitArgs),
    /// Draw a sample data set of up to ten kinds of flowers
    Sample(SampleArgs),
}

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Accepted layouts: DIR/<class>/* and DIR/{train,val,test}/<class>/*

Examples:
  flowers data check photos
  flowers data check photos --json | jq '.findings[].message'

Exit code: 0 when the set can be trained on, 3 when not.")]
pub struct CheckArgs {
    /// Data set folder
    pub dir: PathBuf,
    #[command(flatten)]
    pub bad: MaxBad,
    /// Print one JSON object instead of the table
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Photos are assigned by their content, class by class: renaming files changes nothing, identical \
files are never in two parts, and added photos move few others. Parts that DIR comes with \
(train, val, test) are kept; those it lacks are cut from the rest.

Examples:
  flowers data split photos --out split.json
  flowers data split photos --out split.json --val 0.1 --test 0.2 --seed 7")]
pub struct SplitArgs {
    /// Data set folder
    pub dir: PathBuf,
    /// The split manifest to write; must not exist yet
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Share of each class for validation
    #[arg(long, value_name = "SHARE", default_value_t = 0.15)]
    pub val: f64,
    /// Share of each class for the test
    #[arg(long, value_name = "SHARE", default_value_t = 0.15)]
    pub test: f64,
    /// Another seed, another split
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    #[command(flatten)]
    pub bad: MaxBad,
    /// Print one JSON object instead of the table
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
The kinds differ in shape, not in colour alone; light, pose and background vary.

Examples:
  flowers data sample flowers-sample
  flowers data sample flowers-sample --classes 3 --per-class 20 --size 128")]
pub struct SampleArgs {
    /// Folder to make; must not exist yet or be empty
    pub dir: PathBuf,
    /// Number of kinds, 2 to 10
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub classes: usize,
    /// Pictures of each kind
    #[arg(long, value_name = "N", default_value_t = 80)]
    pub per_class: usize,
    /// Side of the pictures in pixels
    #[arg(long, value_name = "PIXELS", default_value_t = 256)]
    pub size: u32,
    /// Another seed, other pictures
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

/// The tolerated share of unreadable files, for every command that scans a folder.
#[derive(Debug, Clone, Copy, Args)]
pub struct MaxBad {
    /// Largest share of unreadable files to put up with, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.01, value_parser = share)]
    pub max_bad: f64,
}

/// A number from 0 to 1.
pub(super) fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("a number from 0 to 1 is wanted".into()),
    }
}
