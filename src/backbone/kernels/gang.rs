//! Threads that work on one step after the other: those of one inference, or of one search for the weights of a head.
//!
//! Owns: sharing out the items of a step, and waiting for each other. A step of an inference takes less time than it takes to wake a
//! thread, and not much more than a general pool takes to hand over its half; so the helpers stay awake from the first step to the
//! last, and what a step costs beside its work is a few lines of the cache that change hands.
//!
//! Invariant: each item is worked on once, by whichever thread comes first: what a helper that is late or away has not begun, the
//! others do.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Looks that a thread takes before it lets others run between two looks: some tens of microseconds.
const LOOKS: u32 = 2000;

/// The threads of one inference, as the one among them knows them that shares out.
pub struct Gang<'a>(&'a Shared);

/// One queue for each thread.
struct Shared(Vec<Queue>);

/// Items that one thread takes first; all that its thread looks at lies in one line of the cache.
#[repr(align(128))]
struct Queue {
    /// The lower half counts items that are not done, the upper half those that nobody has begun.
    items: AtomicU32,
    closed: AtomicBool,
    job: UnsafeCell<Job>,
}

/// One item in the upper half.
const UNBEGUN: u32 = 1 << 16;

/// What is done with an item, told its number; those of this queue end before `end`.
#[derive(Clone, Copy)]
struct Job {
    work: *const (dyn Fn(usize) + Sync),
    end: usize,
}

// SAFETY: `job` is written while no item is left to do, and read by who has begun one that is not done.
unsafe impl Sync for Queue {}
// SAFETY: the work that it points to may be called from any thread.
unsafe impl Send for Job {}

/// Runs `work` with a gang of so many threads: this one, and others of the pool as they come.
pub fn with<T: Send>(threads: usize, work: impl FnOnce(Gang<'_>) -> T + Send) -> T {
    /// Lets the helpers go, however the work ends.
    struct Close<'a>(&'a Shared);
    impl Drop for Close<'_> {
        fn drop(&mut self) {
            self.0.close();
        }
    }
    let shared = &Shared::new(threads);
    if threads < 2 {
        return work(Gang(shared));
    }
    rayon::scope(|scope| {
        let _close = Close(shared);
        for own in 1..threads.min(rayon::current_num_threads()) {
            scope.spawn(move |_| shared.help(own));
        }
        work(Gang(shared))
    })
}

impl Gang<'_> {
    pub fn threads(&self) -> usize {
        self.0.0.len()
    }

    /// Lets `work` have each of the items. Neighbours go to the same thread, the first ones to this.
    pub fn share<T: Send>(&mut self, items: &mut [T], work: impl Fn(&mut T) + Sync) {
        /// Ends the step, also when an item of this thread panics: nothing new is begun, and what is begun is done.
        struct End<'a>(&'a Shared);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                for queue in &self.0.0 {
                    while queue.begin().is_some() {
                        queue.done();
                    }
                }
                let mut looks = 0;
                for queue in &self.0.0 {
                    while queue.items.load(Ordering::Acquire) != 0 {
                        pause(&mut looks);
                    }
                }
            }
        }
        let Shared(queues) = self.0;
        let (threads, count) = (queues.len(), items.len());
        if threads < 2 || count < 2 || count >= UNBEGUN as usize {
            return items.iter_mut().for_each(work);
        }
        let first = Items(items.as_mut_ptr());
        // SAFETY: each number below the count is begun once, and all are done before this returns.
        let work = |number: usize| work(unsafe { &mut *first.at(number) });
        let work: &(dyn Fn(usize) + Sync) = &work;
        // SAFETY: nobody calls it when this has returned: `End` sees to it.
        let work = unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), _>(work) };
        let _end = End(self.0);
        for (own, queue) in queues.iter().enumerate().rev() {
            let start = (count * own).div_ceil(threads);
            let end = (count * (own + 1)).div_ceil(threads);
            // SAFETY: no item is left of the last step, so that nobody reads it.
            unsafe { *queue.job.get() = Job { work, end } };
            let both = (end - start) as u32 * (UNBEGUN + 1);
            queue.items.store(both, Ordering::Release);
        }
        self.0.work(0);
    }
}

/// Items that several threads take from.
struct Items<T>(*mut T);

// SAFETY: each item goes to one thread.
unsafe impl<T: Send> Sync for Items<T> {}

impl<T> Items<T> {
    fn at(&self, number: usize) -> *mut T {
        self.0.wrapping_add(number)
    }
}

impl Queue {
    fn new() -> Queue {
        let nothing: &(dyn Fn(usize) + Sync) = &|_| ();
        Queue {
            items: AtomicU32::new(0),
            closed: AtomicBool::new(false),
            job: UnsafeCell::new(Job {
                work: nothing,
                end: 0,
            }),
        }
    }

    /// Takes an item: how many there were that nobody had begun.
    fn begin(&self) -> Option<usize> {
        let mut both = self.items.load(Ordering::Relaxed);
        while let Some(less) = both.checked_sub(UNBEGUN) {
            let items = &self.items;
            match items.compare_exchange_weak(both, less, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Some((both / UNBEGUN) as usize),
                Err(now) => both = now,
            }
        }
        None
    }

    fn done(&self) {
        self.items.fetch_sub(1, Ordering::Release);
    }
}

impl Shared {
    fn new(threads: usize) -> Shared {
        Shared((0..threads.max(1)).map(|_| Queue::new()).collect())
    }

    /// Lets the helpers go.
    fn close(&self) {
        for queue in &self.0 {
            queue.closed.store(true, Ordering::Release);
        }
    }

    /// Does items as long as there are any, this thread's own first. Whether there were.
    fn work(&self, own: usize) -> bool {
        /// Counts an item as done, also when it panics.
        struct Done<'a>(&'a Queue);
        impl Drop for Done<'_> {
            fn drop(&mut self) {
                self.0.done();
            }
        }
        let threads = self.0.len();
        let mut worked = false;
        for of in (own..threads).chain(0..own) {
            let queue = &self.0[of];
            while let Some(left) = queue.begin() {
                let _done = Done(queue);
                worked = true;
                // SAFETY: the step cannot end before this item is done, so that the job is still its.
                unsafe {
                    let Job { work, end } = *queue.job.get();
                    (*work)(end - left);
                }
            }
        }
        worked
    }

    fn help(&self, own: usize) {
        let mut looks = 0;
        while !self.0[own].closed.load(Ordering::Acquire) {
            if self.work(own) {
                looks = 0;
            } else {
                pause(&mut looks);
            }
        }
    }
}

/// Between two looks at what another thread is to change.
fn pause(looks: &mut u32) {
    *looks += 1;
    if *looks < LOOKS {
        std::hint::spin_loop();
    } else {
        std::thread::yield_now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    /// Steps of a few items, with helpers for some of the queues only; what is done by whom is left to chance.
    fn steps(threads: usize, helpers: usize) {
        let shared = &Shared::new(threads);
        std::thread::scope(|scope| {
            for own in 1..=helpers {
                scope.spawn(move || shared.help(own));
            }
            let mut gang = Gang(shared);
            for count in [0, 1, 2, 3, 7, 2, 16] {
                let mut items: Vec<usize> = (0..count).collect();
                let given = count * 10;
                gang.share(&mut items, |item| *item += given);
                let expected: Vec<usize> = (given..given + count).collect();
                assert_eq!(items, expected, "{threads} threads, {helpers} helpers");
            }
            shared.close();
        });
    }

    #[test]
    fn every_item_is_worked_on_once_whoever_comes() {
        for threads in 1..5 {
            for helpers in 0..threads {
                steps(threads, helpers);
            }
        }
    }

    #[test]
    fn a_step_that_panics_ends_and_the_next_one_works() {
        let shared = &Shared::new(2);
        let mut gang = Gang(shared);
        let mut items = [0, 1, 2, 3];
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            gang.share(&mut items, |item| assert!(*item < 1, "as it should"));
        }));
        assert!(panicked.is_err());
        gang.share(&mut items, |item| *item += 1);
        assert_eq!(items, [1, 2, 3, 4]);
    }
}
