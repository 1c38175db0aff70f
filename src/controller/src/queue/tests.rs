use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

fn key(name: &str) -> Key {
    Key::new("ns", name)
}

/// Runs the queue until it has been quiet for an hour; returns (milliseconds, name) of each pass.
async fn run(
    queue: &Arc<Queue>,
    answer: impl Fn(&Key, usize) -> Next + Send + Sync + 'static,
) -> Vec<(u128, String)> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (stop, start, answer) = (CancellationToken::new(), Instant::now(), Arc::new(answer));
    let log = seen.clone();
    let pass = move |key: Key| {
        let (log, answer) = (log.clone(), answer.clone());
        async move {
            let count = {
                let mut log = log.lock().unwrap();
                log.push((start.elapsed().as_millis(), key.name().to_owned()));
                log.len()
            };
            answer(&key, count)
        }
    };
    let work = tokio::spawn(queue.clone().work(4, stop.clone(), pass));
    tokio::time::sleep(Duration::from_secs(3600)).await;
    stop.cancel();
    work.await.unwrap();
    let seen = seen.lock().unwrap();
    seen.clone()
}

#[tokio::test(start_paused = true)]
async fn adding_twice_is_one_pass_and_the_earliest_time_wins() {
    let queue = Queue::new("q", None);
    queue.add(key("a"));
    queue.add(key("a"));
    queue.add_after(key("b"), Duration::from_secs(9));
    queue.add_after(key("b"), Duration::from_secs(3));
    queue.add_after(key("b"), Duration::from_secs(5));
    let passes = run(&queue, |_, _| Next::Rest).await;
    assert_eq!(passes, [(0, "a".to_owned()), (3000, "b".to_owned())]);
}

/// CTL-1, CTL-160, CTL-161: errors are held back 1 ms doubling to 10 s; success forgets them.
#[tokio::test(start_paused = true)]
async fn errors_back_off() {
    let queue = Queue::new("q", None);
    queue.add(key("a"));
    let passes = run(&queue, |_, n| {
        if n < 18 {
            Next::Retry("no".into())
        } else {
            Next::Rest
        }
    })
    .await;
    let gaps: Vec<_> = passes.windows(2).map(|w| w[1].0 - w[0].0).collect();
    assert_eq!(&gaps[..4], &[1, 2, 4, 8]);
    assert_eq!(&gaps[14..], &[10_000, 10_000, 10_000]);
}

/// SE-32: an event is not delayed by earlier errors.
#[tokio::test(start_paused = true)]
async fn an_event_does_not_wait_for_the_back_off() {
    let queue = Queue::new("q", None);
    queue.add(key("a"));
    let other = queue.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(20_500)).await;
        other.add(key("a"));
    });
    let passes = run(&queue, |_, n| {
        if n <= 15 {
            Next::Retry("no".into())
        } else {
            Next::Rest
        }
    })
    .await;
    assert!(passes.iter().any(|(at, _)| *at == 20_500), "{passes:?}");
}

#[tokio::test(start_paused = true)]
async fn one_pass_per_key_at_a_time_and_changes_meanwhile_are_seen() {
    let queue = Queue::new("q", None);
    let (running, most, total) = (
        AtomicUsize::new(0),
        AtomicUsize::new(0),
        AtomicUsize::new(0),
    );
    let counts = Arc::new((running, most, total));
    queue.add(key("a"));
    let stop = CancellationToken::new();
    let (other, shared) = (queue.clone(), counts.clone());
    let work = tokio::spawn(queue.clone().work(4, stop.clone(), move |key| {
        let (queue, counts) = (other.clone(), shared.clone());
        async move {
            let now = counts.0.fetch_add(1, Ordering::SeqCst) + 1;
            counts.1.fetch_max(now, Ordering::SeqCst);
            if counts.2.fetch_add(1, Ordering::SeqCst) < 3 {
                queue.add(key);
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            counts.0.fetch_sub(1, Ordering::SeqCst);
            Next::Rest
        }
    }));
    tokio::time::sleep(Duration::from_secs(60)).await;
    stop.cancel();
    work.await.unwrap();
    assert_eq!(
        (
            counts.1.load(Ordering::SeqCst),
            counts.2.load(Ordering::SeqCst)
        ),
        (1, 4)
    );
}

/// CTL-161, INV-16, D11: a panic harms its own key only.
#[tokio::test(start_paused = true)]
async fn a_panic_is_an_error_of_its_key() {
    let queue = Queue::new("q", None);
    queue.add(key("bad"));
    queue.add(key("good"));
    let passes = run(&queue, |key, n| {
        assert!(key.name() == "good" || n > 4, "boom");
        Next::Rest
    })
    .await;
    assert!(passes.iter().any(|(_, name)| name == "good"));
    assert!(passes.iter().filter(|(_, name)| name == "bad").count() > 1);
}

/// INV-16: a key that always asks for another pass is slowed down.
#[tokio::test(start_paused = true)]
async fn a_busy_key_is_slowed_down() {
    let queue = Queue::new("q", None);
    queue.add(key("a"));
    let passes = run(&queue, |_, _| Next::Now).await;
    assert!(passes.len() < 500, "{}", passes.len());
}
