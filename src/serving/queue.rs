//! How many pictures there may be at a time.
//!
//! The wait of a full queue is as long as its pictures take to leave. Under far more requests than
//! a server can bear, refusals and the machine's other work take time from the model, and the same
//! number of pictures would wait longer and longer. So there are fewer places then: just as many
//! as let 99 of 100 pictures leave within the time that a full queue takes at its best pace.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::refusal::Refusal;

/// At least this share of the places is there, however slowly pictures leave: large photos take
/// longer than small ones, with nothing amiss.
const FEWEST: f64 = 0.5;

/// Places lost with a picture that left too late; one in time gives back a 99th of it. They are in
/// balance when one of 100 is late (Robbins and Monro, "A Stochastic Approximation Method", 1951).
const STEP: f64 = 0.5;
const IN_TIME: f64 = 99.0;

/// The shortest time over which a pace is measured.
const WINDOW: Duration = Duration::from_secs(1);

/// What leaves within this time is never late: in a short queue it is a large photo's own.
const SOON: f64 = 0.05;

/// The best pace counts half after this time, since machines change.
const HALF_LIFE: Duration = Duration::from_secs(3600);

/// Pictures on their way from upload to answer.
pub struct Queue {
    size: usize,
    state: Mutex<State>,
}

/// Places of the pictures of a request. They are free when the request is answered and no work for
/// it is left, so that what is in memory never has more than the queue's size.
pub struct Place {
    queue: Arc<Queue>,
    pictures: usize,
    since: Instant,
}

impl Drop for Place {
    fn drop(&mut self) {
        let now = Instant::now();
        let size = self.queue.size;
        let mut state = self.queue.lock();
        state.leave(size, self.pictures, now.duration_since(self.since), now);
    }
}

impl Queue {
    pub fn new(size: usize) -> Self {
        let state = Mutex::new(State::new(size, Instant::now()));
        Self { size, state }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses a request before its upload, which costs more than the refusal.
    ///
    /// # Errors
    /// [`Refusal::Busy`] when no place is left.
    pub fn has_place(&self) -> Result<(), Refusal> {
        let state = self.lock();
        match state.admits(1) {
            true => Ok(()),
            false => Err(state.busy(self.size)),
        }
    }

    /// Places for the pictures of a request.
    ///
    /// # Errors
    /// [`Refusal::Busy`] when there are not that many left.
    pub fn enter(self: &Arc<Self>, pictures: usize) -> Result<Arc<Place>, Refusal> {
        let since = Instant::now();
        let mut state = self.lock();
        if !state.admits(pictures) {
            return Err(state.busy(self.size));
        }
        state.enter(pictures, since);
        Ok(Arc::new(Place {
            queue: Arc::clone(self),
            pictures,
            since,
        }))
    }

    /// Pictures that have a place now.
    pub fn taken(&self) -> usize {
        self.lock().taken
    }

    /// Pictures that may have one at best.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Pictures that may have one now.
    pub fn places(&self) -> usize {
        self.lock().places as usize
    }

    /// Forgets the pace of another model.
    pub fn forget_pace(&self) {
        let mut state = self.lock();
        let taken = state.taken;
        *state = State::new(self.size, Instant::now());
        state.taken = taken;
    }
}

struct State {
    taken: usize,
    /// In fractions, of which whole ones count.
    places: f64,
    /// Since when pictures are counted, without a pause.
    begin: Instant,
    left: usize,
    /// Pictures that left in a second, lately and at best; 0 until it is known.
    pace: f64,
    best: f64,
}

impl State {
    fn new(size: usize, now: Instant) -> Self {
        Self {
            taken: 0,
            places: size as f64,
            begin: now,
            left: 0,
            pace: 0.0,
            best: 0.0,
        }
    }

    /// Whoever comes to an empty queue is let in.
    fn admits(&self, pictures: usize) -> bool {
        self.taken == 0 || self.taken + pictures <= self.places as usize
    }

    fn busy(&self, size: usize) -> Refusal {
        let wait = if self.pace > 0.0 {
            size as f64 / self.pace
        } else {
            0.0
        };
        Refusal::Busy {
            retry_after: wait as u64 + 1,
        }
    }

    fn enter(&mut self, pictures: usize, now: Instant) {
        if self.taken == 0 {
            self.begin = now;
            self.left = 0;
        }
        self.taken += pictures;
    }

    fn leave(&mut self, size: usize, pictures: usize, after: Duration, now: Instant) {
        self.taken = self.taken.saturating_sub(pictures);
        self.left += pictures;
        let passed = now.duration_since(self.begin);
        if passed >= WINDOW {
            self.pace = self.left as f64 / passed.as_secs_f64();
            let halves = passed.as_secs_f64() / HALF_LIFE.as_secs_f64();
            self.best = self.pace.max(self.best * (-halves).exp2());
            self.begin = now;
            self.left = 0;
        }
        let allowed = (size as f64 / self.best).max(SOON);
        let late = self.best > 0.0 && after.as_secs_f64() > allowed;
        let step = if late { -STEP } else { STEP / IN_TIME };
        let fewest = FEWEST * size as f64;
        self.places = (self.places + step * pictures as f64).clamp(fewest.max(1.0), size as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: usize = 64;

    /// Always as many as may be, each leaving after those before it at the pace and a share
    /// of lateness. Gives the share of late ones among the last half.
    fn crowded(state: &mut State, now: &mut Instant, pace: f64, pictures: usize) -> f64 {
        let mut late = 0;
        for nth in 0..pictures {
            while state.admits(1) {
                state.enter(1, *now);
            }
            *now += Duration::from_secs_f64(1.0 / pace);
            let jitter = 1.0 + 0.2 * (nth * 37 % 101) as f64 / 101.0;
            let after = Duration::from_secs_f64(jitter * state.taken as f64 / pace);
            let in_time = after.as_secs_f64() <= SIZE as f64 / state.best;
            late += usize::from(nth >= pictures / 2 && !in_time);
            state.leave(SIZE, 1, after, *now);
        }
        late as f64 / (pictures - pictures / 2) as f64
    }

    #[test]
    fn a_slowed_queue_has_as_many_places_as_keep_the_wait() {
        let mut now = Instant::now();
        let mut state = State::new(SIZE, now);
        for _ in 0..2000 {
            state.enter(1, now);
            state.enter(1, now);
            now += Duration::from_millis(1);
            state.leave(SIZE, 1, Duration::from_millis(2), now);
            state.taken = 1;
        }
        assert!((state.best - 1000.0).abs() < 20.0, "{}", state.best);
        assert_eq!(state.places as usize, SIZE);

        let late = crowded(&mut state, &mut now, 800.0, 40_000);
        assert!((0.004..0.02).contains(&late), "{late}");
        let wait = state.places / 800.0;
        assert!((0.042..0.064).contains(&wait), "{wait}");

        crowded(&mut state, &mut now, 100.0, 1000);
        assert_eq!(state.places as usize, SIZE / 2);
        crowded(&mut state, &mut now, 1200.0, 20_000);
        assert!(state.places as usize > SIZE * 3 / 4, "{}", state.places);
    }

    #[test]
    fn pauses_are_not_measured() {
        let mut now = Instant::now();
        let mut state = State::new(SIZE, now);
        for _ in 0..50 {
            state.enter(1, now);
            now += Duration::from_millis(5);
            state.leave(SIZE, 1, Duration::from_millis(5), now);
            now += Duration::from_secs(60);
        }
        assert_eq!((state.pace, state.best), (0.0, 0.0));
        assert!(matches!(state.busy(SIZE), Refusal::Busy { retry_after: 1 }));
    }

    #[test]
    fn a_short_queue_keeps_its_places_for_large_photos() {
        let mut now = Instant::now();
        let mut state = State::new(4, now);
        for after in [1, 45] {
            for _ in 0..3000 {
                state.enter(1, now);
                state.enter(1, now);
                now += Duration::from_millis(after);
                state.leave(4, 1, Duration::from_millis(after), now);
                state.taken = 1;
            }
        }
        assert!(state.best > 900.0, "{}", state.best);
        assert_eq!(state.places, 4.0);
    }

    #[test]
    fn a_large_request_comes_into_an_empty_queue() {
        let now = Instant::now();
        let mut state = State::new(SIZE, now);
        state.places = 32.0;
        assert!(state.admits(40));
        state.enter(1, now);
        assert!(!state.admits(40));
        assert!(state.admits(31));
        assert!(!state.admits(32));
    }
}
