//! Dynamic neighbours: who connects from within the range of a template becomes a peer, and is
//! forgotten some time after the connection is gone.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use warren_bgp::session::{Event, State};

use super::Actor;
use super::peer::Neighbor;
use crate::settings::PeerTemplate;

impl Neighbor {
    /// One that has connected from `address`.
    fn dynamic(actor: &Actor, template: &PeerTemplate, address: IpAddr) -> Self {
        let settings = template.settings_for(address);
        // A peer that has had too much is left alone as long as one that is configured.
        let idle = settings.max_prefixes.map(|it| it.idle);
        let mut neighbor = Self::new(&actor.config, settings, actor.deferral.is_some());
        neighbor.template = Some(template.name.as_str().into());
        neighbor.linger = template.linger.max(idle.unwrap_or_default());
        neighbor
    }

    /// When to look at it although nothing has happened.
    pub(super) fn next_deadline(&mut self, now: Instant) -> Option<Instant> {
        let is_absent = self.template.is_some() && self.machine.state() < State::OpenSent;
        self.leaves = match self.leaves {
            _ if !is_absent => None,
            None => now.checked_add(self.linger),
            decided => decided,
        };
        // Routes that are kept for it have a time of their own, and it stays as long as they do.
        let leaves = self.leaves.filter(|_| !self.machine.has_stale());
        self.machine.next_deadline().into_iter().chain(leaves).min()
    }

    /// Whether it can make room for another one: it is not there and there is nothing to remember.
    fn is_dispensable(&self) -> bool {
        self.leaves.is_some() && self.peer_as.is_none()
    }
}

impl Actor {
    /// Sees to it that who connects from `address` is a neighbour.
    ///
    /// # Errors
    /// The reason why it is not to be one.
    pub(super) fn admit(&mut self, address: IpAddr) -> Result<(), String> {
        if self.neighbors.contains_key(&address) {
            return Ok(());
        }
        let templates = Arc::clone(&self.templates);
        let candidates = templates.iter().filter(|it| it.range.contains(address));
        let Some(template) = candidates.max_by_key(|it| it.range.prefix()) else {
            return Err("no such peer is configured".to_owned());
        };
        let is_of_template = |it: &Neighbor| it.template.as_deref() == Some(template.name.as_str());
        if self.neighbors.values().filter(|it| is_of_template(it)).count() >= template.limit {
            let mut absent = self.neighbors.iter().filter(|(_, it)| is_of_template(it));
            let Some((dispensable, _)) = absent.find(|(_, it)| it.is_dispensable()) else {
                let PeerTemplate { name, limit, .. } = template;
                return Err(format!("{name} has as many neighbours as it may, {limit}"));
            };
            let dispensable = *dispensable;
            self.remove_peer(dispensable);
        }
        tracing::info!(peer = %address, template = template.name, "dynamic BGP neighbour added");
        let neighbor = Neighbor::dynamic(self, template, address);
        self.neighbors.insert(address, neighbor);
        self.drive(address, Event::ManualStart);
        Ok(())
    }

    /// Forgets a dynamic neighbour whose time has come.
    pub(super) fn dismiss_if_due(&mut self, address: IpAddr, now: Instant) {
        let is_due =
            |it: &Neighbor| it.leaves.is_some_and(|at| at <= now) && !it.machine.has_stale();
        if self.neighbors.get(&address).is_some_and(is_due) {
            tracing::info!(peer = %address, "dynamic BGP neighbour forgotten");
            self.remove_peer(address);
            self.has_news = true;
        }
    }

    /// Takes other templates; what was made from one that has changed goes.
    pub(super) fn set_templates(&mut self, templates: Arc<Vec<PeerTemplate>>) {
        let before = std::mem::replace(&mut self.templates, Arc::clone(&templates));
        for template in before.iter().filter(|it| !templates.contains(it)) {
            let made_from = self.neighbors.iter().filter(|(_, neighbor)| {
                neighbor.template.as_deref() == Some(template.name.as_str())
            });
            let addresses: Vec<IpAddr> = made_from.map(|(address, _)| *address).collect();
            for address in addresses {
                self.remove_peer(address);
            }
            if template.settings.password.is_some() {
                self.set_key(template.range, None);
            }
        }
        for template in templates.iter().filter(|it| !before.contains(it)) {
            tracing::info!(
                template = template.name, range = %template.range, limit = template.limit,
                "dynamic BGP neighbours are taken"
            );
            if template.settings.password.is_some() {
                self.set_key(template.range, template.settings.password.as_ref());
            }
        }
    }
}
