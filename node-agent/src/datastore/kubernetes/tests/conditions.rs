//! The condition `NetworkUnavailable`.

use std::time::Duration;

use serde_json::json;

use super::fake::{Fake, Trouble, node};
use super::{LONG, POOLS, Running, eventually, pass};

fn one() -> Fake {
    let fake = Fake::default();
    fake.put(node("node1", "10.77.0.11", "10.244.0.0/24"));
    fake
}

async fn up(fake: &Fake) -> Running {
    let running = Running::start(fake, POOLS);
    running.network.send_replace(Some(Ok(())));
    eventually("the condition", || !fake.patches().is_empty()).await;
    running
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_up_says_so_once() {
    let fake = one();
    let running = up(&fake).await;
    let patches = fake.patches();
    let condition = &patches[0];
    assert_eq!(condition["type"], "NetworkUnavailable");
    assert_eq!(condition["status"], "False");
    assert_eq!(condition["reason"], "WarrenIsUp");
    assert!(condition["lastTransitionTime"].is_string(), "{condition}");
    for beat in 0..10 {
        fake.put(node("node2", &format!("10.77.0.2{beat}"), "10.244.1.0/24"));
        running.network.send_replace(Some(Ok(())));
        pass(Duration::from_secs(10)).await;
    }
    // A watch that begins anew, and a new list.
    fake.expire();
    pass(LONG).await;
    assert_eq!(fake.patches().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_already_said_to_be_up_is_not_written_at_all() {
    let fake = one();
    drop(up(&fake).await);
    let running = Running::start(&fake, POOLS);
    running.network.send_replace(Some(Ok(())));
    pass(LONG).await;
    assert_eq!(fake.patches().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_for_a_moment_is_kept_to_itself_and_what_stays_wrong_is_told_with_its_reason()
{
    let fake = one();
    let running = up(&fake).await;
    pass(LONG).await;
    running.network.send_replace(Some(Err("tunl0 does not exist".into())));
    pass(Duration::from_secs(3)).await;
    running.network.send_replace(Some(Ok(())));
    pass(LONG).await;
    assert_eq!(fake.patches().len(), 1);
    running.network.send_replace(Some(Err("tunl0 does not exist".into())));
    pass(LONG).await;
    let patches = fake.patches();
    assert_eq!(patches.len(), 2);
    assert_eq!(patches[1]["status"], "True");
    assert_eq!(patches[1]["reason"], "WarrenIsNotReady");
    assert_eq!(patches[1]["message"], "tunl0 does not exist");
    running.network.send_replace(Some(Ok(())));
    eventually("the all-clear", || fake.patches().len() == 3).await;
    assert_eq!(fake.patches()[2]["status"], "False");
}

#[tokio::test(start_paused = true)]
async fn a_write_that_is_refused_is_tried_again_ever_more_slowly_until_it_is_taken() {
    let fake = one();
    fake.set(Trouble::RefusesWrites(503));
    let running = Running::start(&fake, POOLS);
    running.network.send_replace(Some(Ok(())));
    pass(LONG).await;
    let tried = fake.requests().iter().filter(|request| request.starts_with("PATCH")).count();
    assert!((10..=30).contains(&tried), "tried {tried} times in ten minutes");
    assert!(fake.patches().is_empty());
    fake.set(Trouble::None);
    pass(LONG).await;
    assert_eq!(fake.patches().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn somebody_elses_word_is_put_right_but_no_fight_is_fast() {
    let fake = one();
    let running = up(&fake).await;
    let foreign = || {
        let mut node1 = node("node1", "10.77.0.11", "10.244.0.0/24");
        node1["status"]["conditions"] = json!([{
            "type": "NetworkUnavailable", "status": "True", "reason": "NoRouteCreated",
        }]);
        fake.put(node1);
    };
    foreign();
    eventually("the correction", || fake.patches().len() == 2).await;
    for _ in 0..600 {
        foreign();
        pass(Duration::from_secs(1)).await;
    }
    let written = fake.patches().len();
    assert!((10..=40).contains(&written), "written {written} times in ten minutes");
    drop(running);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_of_a_node_that_is_not_there() {
    let fake = Fake::default();
    let running = Running::start(&fake, POOLS);
    running.network.send_replace(Some(Err("nothing works".into())));
    pass(LONG).await;
    assert!(fake.requests().iter().all(|request| !request.starts_with("PATCH")));
    fake.put(node("node1", "10.77.0.11", "10.244.0.0/24"));
    pass(LONG).await;
    assert_eq!(fake.patches().len(), 1);
}
