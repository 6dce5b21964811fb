//! Strikes: the ways a network can be broken, as a family's file names them.

use reachd_core::evidence::LocalError;
use serde::Deserialize;

use super::manifest::Parameter;
use super::scene::{Air, Draft};
use crate::host::{Absent, Port, Speaks};
use crate::router::{Action, IcmpLimit, Link, Loss, Match, Member, Policer, Transport};
use crate::world::{LocalFault, Name};

/// Where on the way something happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spot {
    /// At the last router of the vantages' own.
    Uplink,
    /// At one of the routers in transit.
    Transit,
    /// At the provider's edge.
    Edge,
    /// At the last router before the target.
    Last,
    /// Anywhere in transit or at the edge, but not at the last router.
    Upstream,
}

/// Toward whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Toward {
    /// The target alone.
    Target,
    /// Its subnet.
    Subnet,
    /// Everybody.
    All,
}

/// Of which transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Of {
    /// Whatever.
    #[default]
    Any,
    /// Echo.
    Icmp,
    /// TCP.
    Tcp,
    /// TCP to the target's port.
    Port,
    /// New connections to it.
    Syn,
}

/// From which vantages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum From {
    /// All of them.
    #[default]
    All,
    /// Those outside the provider.
    Outside,
    /// The first one alone.
    First,
}

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// Out.
    Forth,
    /// Home.
    Back,
}

/// What a refusing router says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Say {
    /// Net unreachable.
    Net,
    /// Host unreachable.
    Host,
    /// Some kind of prohibited.
    Prohibited,
    /// Port unreachable.
    Port,
}

/// What becomes of the target's port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It resets.
    Closed,
    /// It drops.
    Stealth,
    /// It answers port unreachable.
    Rejects,
    /// It accepts and says nothing.
    SaysNothing,
    /// It accepts and closes in order.
    Closes,
    /// It accepts and resets when it is asked.
    ResetsRequest,
    /// Something else speaks.
    Foreign,
    /// It demands network level authentication, as it should.
    DemandsNla,
    /// It refuses the negotiation.
    RefusesSecurity,
    /// It refuses for want of a certificate.
    NoCertificate,
    /// It takes TLS and closes, or resets, where its certificate should come.
    TlsDies,
    /// Its certificate has expired.
    Expired,
}

/// What is wrong on our side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Local {
    /// No route.
    NoRoute,
    /// The next hop is silent, and the kernel says so.
    GatewaySilent,
    /// Packets never leave.
    Swallows,
    /// Buffers ran out.
    Exhausted,
    /// The firewall refuses everything.
    Blocked,
    /// It refuses the target's port.
    BlockedPort,
    /// It eats what comes back.
    EatsAnswers,
    /// The resolver is dead.
    ResolverDead,
    /// We may not open the sockets.
    NoPrivilege,
}

/// What the resolver says of the target's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Says {
    /// There is no such name.
    Unknown,
    /// It fails.
    Fails,
    /// Nothing.
    TimesOut,
}

/// Packets a strike is about.
#[derive(Debug, Clone, Copy)]
struct Aim {
    toward: Toward,
    of: Of,
    from: From,
}

/// One thing that is broken.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Strike {
    /// A router drops, before or behind its look at the hop limit (drawn where not said).
    Drop {
        at: Spot,
        toward: Toward,
        #[serde(default)]
        of: Of,
        #[serde(default)]
        from: From,
        hides: Option<bool>,
    },
    /// A router drops most.
    Thin {
        at: Spot,
        toward: Toward,
        #[serde(default)]
        of: Of,
    },
    /// A router answers with an ICMP error, limited as routers limit them in half of the cases.
    Refuse {
        at: Spot,
        toward: Toward,
        #[serde(default)]
        of: Of,
        say: Say,
    },
    /// A router sends packets back.
    TurnBack { at: Spot, toward: Toward },
    /// A router resets; the SYN goes on if `forward`.
    Reset { at: Spot, forward: bool },
    /// A router accepts in the target's place.
    Accept { at: Spot },
    /// A router resets connections in the target's name once their first data passes.
    Inspect { at: Spot },
    /// A link loses.
    Lose { at: Spot, way: Way },
    /// A queue overflows: loss with delay.
    Congest { at: Spot },
    /// A policer lets few packets through.
    Police { at: Spot },
    /// Somebody lets few echoes through.
    LimitEcho { at: Spot },
    /// One of several equal paths is dead.
    DeadMember { at: Spot },
    /// Answers find no way home.
    CutReturn { at: Spot, from: From },
    /// Large packets vanish.
    SwallowLarge { at: Spot, way: Way },
    /// The target dies.
    Die {
        #[serde(default)]
        gateway_talks: bool,
    },
    /// The target's neighbours die.
    NeighboursDie {},
    /// The target lives and drops everything.
    Mute {},
    /// The target's port is otherwise.
    Port { state: State },
    /// The target answers late, and its service much later still.
    Overload {},
    /// Another machine has the address.
    OtherHost {},
    /// Our side is broken.
    Local { fault: Local },
    /// The target has a name, which does not resolve.
    Name { says: Says },
    /// Six silent routers in a row.
    Tunnel {},
    /// Answers come twice now and then.
    Duplicate {},
}

impl Strike {
    /// Breaks it.
    pub(super) fn apply(&self, draft: &mut Draft<'_>) {
        match *self {
            Self::Drop { at, toward, of, from, hides } => {
                let hides = hides.unwrap_or_else(|| draft.random.chance(0.5));
                let action = if hides { Action::DropBeforeTtl } else { Action::Drop };
                draft.rule(at, Aim { toward, of, from }, action);
            }
            Self::Thin { at, toward, of } => {
                let share = draft.draw(Parameter::Overrun);
                let aim = Aim { toward, of, from: From::All };
                draft.rule(at, aim, Action::DropSome(share));
            }
            Self::Refuse { at, toward, of, say } => {
                draft.refuse(at, Aim { toward, of, from: From::All }, say);
            }
            Self::TurnBack { at, toward } => {
                draft.rule(at, Aim { toward, of: Of::Any, from: From::Outside }, Action::Return);
            }
            Self::Reset { at, forward } => draft.reset(at, forward),
            Self::Accept { at } => {
                let aim = Aim { toward: Toward::Target, of: Of::Port, from: From::All };
                draft.rule(at, aim, Action::Accept);
            }
            Self::Inspect { at } => draft.inspect(at),
            Self::Lose { at, way } => draft.lose(at, way),
            Self::Congest { at } => draft.congest(at),
            Self::Police { at } => {
                draft.police(at, Of::Any, (Parameter::PoliceRate, Parameter::PoliceBurst));
            }
            Self::LimitEcho { at } => {
                draft.police(at, Of::Icmp, (Parameter::EchoRate, Parameter::EchoBurst));
            }
            Self::DeadMember { at } => draft.kill_member(at),
            Self::CutReturn { at, from } => draft.cut_return(at, from),
            Self::SwallowLarge { at, way } => draft.swallow_large(at, way),
            Self::Die { gateway_talks } => draft.die(gateway_talks),
            Self::NeighboursDie {} => draft.kill_neighbours(),
            Self::Mute {} => {
                let host = draft.host();
                host.echo = false;
                host.ports.clear();
                host.other_ports = Port::Stealth;
            }
            Self::Port { state } => draft.set_port(state),
            Self::Overload {} => {
                draft.host().slow = draft.millis(Parameter::SlowMs);
                let (port, late) = (draft.target.port, draft.millis(Parameter::LateMs));
                draft.host().ports.insert(port, Port::Open(Speaks::Late(late)));
            }
            Self::OtherHost {} => draft.replace_host(),
            Self::Local { fault } => draft.fail_locally(fault),
            Self::Name { says } => draft.break_name(match says {
                Says::Unknown => Name::Unknown,
                Says::Fails => Name::Fails,
                Says::TimesOut => Name::TimesOut,
            }),
            Self::Tunnel {} => draft.dig_tunnel(),
            Self::Duplicate {} => draft.world.duplicates = 0.3,
        }
    }
}

impl Draft<'_> {
    /// Adds a rule for these packets at the routers of a spot.
    fn rule(&mut self, at: Spot, aim: Aim, action: Action) {
        let routers = self.routers(at, aim.from);
        for when in self.matches(aim) {
            for router in &routers {
                self.world.router(router).rule(when.clone(), action);
            }
        }
    }

    fn matches(&self, Aim { toward, of, from }: Aim) -> Vec<Match> {
        let when = match toward {
            Toward::Target => Match { dest: Some(self.address), ..Match::default() },
            Toward::Subnet => Match::subnet(self.address),
            Toward::All => Match::default(),
        };
        let when = when.of(match of {
            Of::Any => Transport::Any,
            Of::Icmp => Transport::Icmp,
            Of::Tcp => Transport::Tcp,
            Of::Port => Transport::Port(self.target.port),
            Of::Syn => Transport::Syn(self.target.port),
        });
        match from {
            From::All => vec![when],
            From::Outside | From::First => {
                self.vantages(from).iter().map(|name| when.clone().from(name)).collect()
            }
        }
    }

    fn refuse(&mut self, at: Spot, aim: Aim, say: Say) {
        let v4 = self.address.is_ipv4();
        let (ty, code) = match (say, v4) {
            (Say::Net, true) => (3, 0),
            (Say::Net, false) => (1, 0),
            (Say::Host, true) => (3, 1),
            (Say::Host, false) => (1, 3),
            (Say::Prohibited, true) => *self.random.pick(&[(3, 13), (3, 9), (3, 10)]),
            (Say::Prohibited, false) => *self.random.pick(&[(1, 1), (1, 5), (1, 6)]),
            (Say::Port, true) => (3, 3),
            (Say::Port, false) => (1, 4),
        };
        self.rule(at, aim, Action::Refuse(ty, code));
        let limit = self.bucket((Parameter::ErrorRate, Parameter::ErrorBurst));
        if self.random.chance(0.5) && self.air == Air::Real {
            for router in self.routers(at, aim.from) {
                self.world.router(&router).limit = Some(limit.clone());
            }
        }
    }

    fn bucket(&mut self, (rate, burst): (Parameter, Parameter)) -> IcmpLimit {
        let rate = self.draw(rate);
        IcmpLimit::new(rate, self.draw(burst))
    }

    fn reset(&mut self, at: Spot, forward: bool) {
        self.disguise(at);
        let aim = Aim { toward: Toward::Target, of: Of::Port, from: From::All };
        self.rule(at, aim, Action::Reset { forward });
    }

    /// The routers of a spot send with a number to count down from that hosts use as well.
    fn disguise(&mut self, at: Spot) {
        let initial = *self.random.pick(&[64, 128, 255]);
        for router in self.routers(at, From::All) {
            self.world.router(&router).initial_ttl = initial;
        }
    }

    fn inspect(&mut self, at: Spot) {
        self.disguise(at);
        let aim = Aim { toward: Toward::Target, of: Of::Port, from: From::All };
        self.rule(at, aim, Action::Inspect);
    }

    fn link(&mut self) -> Link {
        let share = self.draw(Parameter::Loss);
        Link::new(match self.air {
            Air::Real => Loss::Independent(share),
            Air::Still => Loss::Even(share),
        })
    }

    fn lose(&mut self, at: Spot, way: Way) {
        let link = self.link();
        for router in self.routers(at, From::All) {
            let router = self.world.router(&router);
            match way {
                Way::Forth => router.forth = link.clone(),
                Way::Back => router.back = link.clone(),
            }
        }
    }

    fn congest(&mut self, at: Spot) {
        let (link, queue) = (self.link(), self.millis(Parameter::QueueMs));
        for router in self.routers(at, From::All) {
            let router = self.world.router(&router);
            router.forth = link.clone();
            router.jitter = queue;
        }
    }

    fn police(&mut self, at: Spot, of: Of, bucket: (Parameter, Parameter)) {
        let bucket = self.bucket(bucket);
        let aim = Aim { toward: Toward::Target, of, from: From::All };
        for when in self.matches(aim) {
            for router in self.routers(at, From::All) {
                let policer = Policer { when: when.clone(), bucket: bucket.clone() };
                self.world.router(&router).policers.push(policer);
            }
        }
    }

    fn kill_member(&mut self, at: Spot) {
        let of = self.count(Parameter::Members).max(2);
        let member = Member { of, number: self.random.below(of) };
        let when = Match { member: Some(member), ..Match::subnet(self.address) };
        for router in self.routers(at, From::All) {
            self.world.router(&router).rule(when.clone(), Action::Drop);
        }
    }

    fn cut_return(&mut self, at: Spot, from: From) {
        let vantages = self.vantages(from);
        for router in self.routers(at, from) {
            self.world.router(&router).cut_from.extend(vantages.iter().cloned());
        }
    }

    fn swallow_large(&mut self, at: Spot, way: Way) {
        let size = usize::try_from(self.count(Parameter::Size)).unwrap_or(usize::MAX);
        let when = Match { longer_than: Some(size), ..Match::subnet(self.address) };
        for router in self.routers(at, From::All) {
            let router = self.world.router(&router);
            match way {
                Way::Forth => router.rule(when.clone(), Action::Drop),
                Way::Back => router.back_limit = Some(size),
            }
        }
    }

    fn die(&mut self, gateway_talks: bool) {
        self.host().alive = false;
        if gateway_talks {
            let absent = Absent::Unreachable(self.millis(Parameter::AbsentMs));
            self.world.subnets.values_mut().for_each(|subnet| subnet.absent = absent);
        }
    }

    fn set_port(&mut self, state: State) {
        let v4 = self.address.is_ipv4();
        let open = |speaks| Port::Open(speaks);
        let state = match state {
            State::Closed => Port::Closed,
            State::Stealth => Port::Stealth,
            State::Rejects if v4 => Port::Refused(3, 3),
            State::Rejects => Port::Refused(1, 4),
            State::SaysNothing => open(Speaks::Nothing),
            State::Closes => open(Speaks::Closes { reset: false }),
            State::ResetsRequest => open(Speaks::Closes { reset: true }),
            State::Foreign => open(Speaks::Foreign("SSH-2.0-OpenSSH_9.9".to_owned())),
            State::DemandsNla => open(Speaks::Expected),
            State::RefusesSecurity => open(Speaks::Refuses(*self.random.pick(&[4, 6]))),
            State::NoCertificate => open(Speaks::Refuses(3)),
            State::TlsDies => open(Speaks::TlsDies { reset: self.random.chance(0.5) }),
            State::Expired => open(Speaks::Expired),
        };
        let port = self.target.port;
        self.host().ports.insert(port, state);
    }

    fn replace_host(&mut self) {
        let foreign = self.random.chance(0.5);
        let echo = self.random.chance(0.6);
        self.set_port(if foreign { State::Foreign } else { State::Closed });
        let host = self.host();
        host.initial_ttl = if host.initial_ttl == 64 { 128 } else { 64 };
        host.echo = echo;
    }

    fn fail_locally(&mut self, fault: Local) {
        let port = self.target.port;
        let fault = match fault {
            Local::NoRoute => LocalFault::Refuses(LocalError::NoRoute),
            Local::GatewaySilent => LocalFault::Refuses(LocalError::GatewaySilent),
            Local::Swallows => LocalFault::Swallows,
            Local::Exhausted => LocalFault::Refuses(LocalError::Exhausted),
            Local::Blocked => LocalFault::Refuses(LocalError::Blocked),
            Local::BlockedPort => LocalFault::RefusesPort(port, LocalError::Blocked),
            Local::EatsAnswers => LocalFault::EatsAnswers,
            Local::ResolverDead => {
                self.world.places.values_mut().for_each(|place| place.resolver = false);
                return self.break_name(Name::Unknown);
            }
            Local::NoPrivilege => {
                self.down = Some(LocalError::NoPrivilege);
                return;
            }
        };
        self.world.places.values_mut().for_each(|place| place.fault = fault);
    }
}
