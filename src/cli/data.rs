//! Arguments of `flowers data`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::values;

#[derive(Debug, Clone, Subcommand)]
pub enum DataCommand {
    /// Look for problems: unreadable files, duplicates, leaks, tiny photos, imbalance
    Check(CheckArgs),
    /// Assign photos to training, validation and test, and save the result
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

Exit code: 0 if the data set can be trained on, 3 if not.")]
pub struct CheckArgs {
    /// Data set folder
    pub dir: PathBuf,
    #[command(flatten)]
    pub bad: MaxBad,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Photos are assigned by their content, class by class: renaming files changes nothing, identical \
files always end up in the same part, and adding photos moves few of the others. If DIR already has \
parts (train, val, test), they are kept, and missing ones are taken from train.

Examples:
  flowers data split photos --out split.json
  flowers data split photos --out split.json --val 0.1 --test 0.2 --seed 7")]
pub struct SplitArgs {
    /// Data set folder
    pub dir: PathBuf,
    /// Split manifest to write; must not exist yet
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Fraction of each class to use for validation
    #[arg(long, value_name = "FRACTION", default_value_t = 0.15, value_parser = values::number)]
    pub val: f64,
    /// Fraction of each class to use for testing
    #[arg(long, value_name = "FRACTION", default_value_t = 0.15, value_parser = values::number)]
    pub test: f64,
    /// Random seed: another seed gives another split
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
    /// Random seed: another seed gives other images
    #[arg(long, default_value_t = 0, value_parser = values::seed)]
    pub seed: u64,
}

/// How many unreadable files are tolerated, for every command that scans a folder.
#[derive(Debug, Clone, Copy, Args)]
pub struct MaxBad {
    /// Largest tolerated fraction of unreadable photos, 0 to 1
    #[arg(long, value_name = "FRACTION", default_value_t = 0.01, value_parser = values::fraction)]
    pub max_bad: f64,
}
