//! What goes wrong, drawn from the seed.

use std::time::Duration;

use warren_bgp::message::Family;
use warren_bgp::session::Event;

use crate::topology::destinations;
use crate::world::World;

const FAULTS: [fn(&mut World); 14] = [
    cut_a_link,
    partition,
    heal,
    break_a_connection,
    break_a_connection,
    kill,
    cut_the_power,
    shut_down,
    hand_over,
    boot,
    change_destinations,
    change_belief,
    stop_or_start_a_peer,
    remove_or_add_a_peer,
];

/// Between a hundredth of a second and half a minute: within one handshake or one hold time, and
/// beyond both.
pub(crate) fn pause(world: &mut World) -> Duration {
    let most = world.random.pick(&[100, 2_000, 30_000]);
    world.random.duration(Duration::from_millis(10), Duration::from_millis(most))
}

/// Something goes wrong, or right again.
pub(crate) fn strike(world: &mut World) {
    let fault = world.random.pick(&FAULTS);
    fault(world);
    if world.random.one_in(4) {
        refresh(world);
    }
}

/// All is put right again, or, in every third world, only some of it.
pub(crate) fn make_up(world: &mut World) {
    if world.random.one_in(3) {
        world.say(format_args!("stays as it is"));
        return;
    }
    world.say(format_args!("all is repaired"));
    world.network.heal_all();
    for node in 0..world.nodes.len() {
        world.boot(node);
        for peer in std::mem::take(&mut world.nodes[node].removed) {
            world.configure(node, peer);
        }
        for peer in std::mem::take(&mut world.nodes[node].stopped) {
            world.drive(node, peer, Event::ManualStart);
        }
    }
}

fn node(world: &mut World) -> usize {
    let count = world.nodes.len();
    world.random.below(count)
}

fn two_nodes(world: &mut World) -> (usize, usize) {
    let count = world.nodes.len();
    let one = world.random.below(count);
    (one, (one + 1 + world.random.below(count - 1)) % count)
}

/// A peering, from one side or the other.
fn peering(world: &mut World) -> Option<(usize, usize)> {
    let sessions = world.topology.sessions.len();
    if sessions == 0 {
        return None;
    }
    let (a, b, _) = world.topology.sessions[world.random.below(sessions)];
    Some(if world.random.one_in(2) { (a, b) } else { (b, a) })
}

fn cut_a_link(world: &mut World) {
    let (a, b) = two_nodes(world);
    world.say(format_args!("{a} and {b} do not reach one another"));
    world.network.cut(a, b);
}

fn partition(world: &mut World) {
    let count = world.nodes.len();
    let group = world.random.next();
    world.say(format_args!("partition {:b}", group % (1 << count)));
    for a in 0..count {
        for b in 0..a {
            if (group >> a) & 1 != (group >> b) & 1 {
                world.network.cut(a, b);
            }
        }
    }
}

fn heal(world: &mut World) {
    if world.random.one_in(2) {
        world.say(format_args!("everybody reaches everybody"));
        return world.network.heal_all();
    }
    let (a, b) = two_nodes(world);
    world.say(format_args!("{a} and {b} reach one another"));
    world.network.heal(a, b);
}

fn break_a_connection(world: &mut World) {
    let node = node(world);
    let places = world.network.of(node);
    if !places.is_empty() {
        let place = world.random.pick(&places);
        world.say(format_args!("a connection of {node} breaks"));
        world.break_off(place);
    }
}

fn kill(world: &mut World) {
    let node = node(world);
    world.say(format_args!("{node} is killed"));
    world.kill(node);
    if world.random.one_in(2) {
        world.boot(node);
    }
}

fn cut_the_power(world: &mut World) {
    let node = node(world);
    world.say(format_args!("{node} is without power"));
    world.cut_power(node);
}

fn shut_down(world: &mut World) {
    let node = node(world);
    world.say(format_args!("{node} ends in order"));
    world.shut_down(node);
}

fn hand_over(world: &mut World) {
    let node = node(world);
    world.say(format_args!("{node} ends for another to take over"));
    world.hand_over(node);
    if world.random.one_in(2) {
        world.boot(node);
    }
}

fn boot(world: &mut World) {
    for node in 0..world.nodes.len() {
        if world.nodes[node].speaker.is_none() {
            world.say(format_args!("{node} starts"));
            world.boot(node);
        }
    }
}

fn change_destinations(world: &mut World) {
    let node = node(world);
    let all = destinations(node);
    world.nodes[node].originated = all.into_iter().filter(|_| world.random.one_in(2)).collect();
    let originated = world.nodes[node].originated.clone();
    world.say(format_args!("{node} announces {originated:?}"));
    world.originate(node);
}

fn change_belief(world: &mut World) {
    let node = node(world);
    let believes = !world.nodes[node].believes_shared;
    world.nodes[node].believes_shared = believes;
    world.say(format_args!("{node} believes the shared destination: {believes}"));
    world.believe(node);
}

fn stop_or_start_a_peer(world: &mut World) {
    let Some((node, peer)) = peering(world) else { return };
    if world.nodes[node].stopped.remove(&peer) {
        world.say(format_args!("{node} starts {peer}"));
        world.drive(node, peer, Event::ManualStart);
    } else {
        world.say(format_args!("{node} stops {peer}"));
        world.nodes[node].stopped.insert(peer);
        world.drive(node, peer, Event::ManualStop);
    }
}

fn remove_or_add_a_peer(world: &mut World) {
    let Some((node, peer)) = peering(world) else { return };
    if world.nodes[node].removed.remove(&peer) {
        world.say(format_args!("{node} has {peer} as a peer again"));
        world.configure(node, peer);
    } else {
        world.say(format_args!("{node} does not have {peer} as a peer any more"));
        world.nodes[node].removed.insert(peer);
        world.deconfigure(node, peer);
    }
}

fn refresh(world: &mut World) {
    let Some((node, peer)) = peering(world) else { return };
    world.say(format_args!("{node} asks {peer} for its routes again"));
    world.drive(node, peer, Event::RequestRefresh(Family::Ipv4Unicast));
}
