use codex_network_policy::{Mode, Rules};

use super::*;

fn policy(mode: Mode) -> Policy {
    Policy::compile(Rules {
        enabled: true,
        mode,
        ..Rules::default()
    })
}

#[tokio::test]
async fn a_replaced_policy_is_in_force_before_anybody_hears_of_it() {
    let store = PolicyStore::new(policy(Mode::Full));
    let before = store.current();
    let mut changes = store.watch();
    assert!(!changes.has_changed().unwrap());

    assert_eq!(store.replace(policy(Mode::Limited)), 2);
    changes.changed().await.unwrap();
    assert_eq!(*changes.borrow_and_update(), 2);
    let after = store.current();
    assert_eq!((after.generation, after.policy.mode()), (2, Mode::Limited));
    // Who has taken a snapshot keeps it.
    assert_eq!((before.generation, before.policy.mode()), (1, Mode::Full));
}

#[test]
fn generations_and_policies_stay_together_under_contention() {
    let store = PolicyStore::new(policy(Mode::Full));
    let mut generations: Vec<u64> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let replace = |_| {
                        let generation = store.replace(policy(Mode::Full));
                        assert!(store.current().generation >= generation);
                        generation
                    };
                    (0..100).map(replace).collect::<Vec<u64>>()
                })
            })
            .collect();
        writers
            .into_iter()
            .flat_map(|writer| writer.join().unwrap())
            .collect()
    });
    generations.sort_unstable();
    assert_eq!(generations, (2..=401).collect::<Vec<_>>());
    assert_eq!(store.current().generation, 401);
    assert_eq!(*store.watch().borrow(), 401);
}
