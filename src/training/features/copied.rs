//! Features that process 0 has, copied by the others.

use super::rows::Rows;
use super::store::Features;
use crate::distributed::Group;
use crate::error::Result;

/// Photos whose rows are sent together.
const SENT: usize = 256;

/// Copies every view of process 0; the others have none.
///
/// # Errors
/// Those of any process.
pub(super) fn copy_from_first(features: &mut Features, group: &Group) -> Result<()> {
    let is_first = group.is_first();
    let of_first = |count: usize| {
        let mut counts = [if is_first { count as f64 } else { 0.0 }];
        group.add_up(&mut counts)?;
        Ok::<_, anyhow::Error>(counts[0] as usize)
    };
    for view in 0..of_first(features.views())? {
        let photos = of_first(if is_first { features.photos(view) } else { 0 })?;
        match is_first {
            true => send(features, group, view, photos)?,
            false => receive(features, group, photos)?,
        }
    }
    Ok(())
}

fn send(features: &Features, group: &Group, view: usize, photos: usize) -> Result<()> {
    for start in (0..photos).step_by(SENT) {
        let own = features.stored(view, start..photos.min(start + SENT));
        group.together(own)?.gathered(group)?;
    }
    group.together(Ok(()))
}

fn receive(features: &mut Features, group: &Group, photos: usize) -> Result<()> {
    let levels = features.levels();
    let mut copy = features.begin_view();
    let mut told = Ok(());
    for _ in (0..photos).step_by(SENT) {
        let own = told.map(|()| Rows::empty(levels));
        let mut parts = group.together(own)?.gathered(group)?;
        told = copy.append(&parts.swap_remove(0));
    }
    group.together(told.and_then(|()| copy.finish()))
}
