//! The payment actor: one for each reservation whose payment something happens to. It takes work one at a time, asks
//! the pure rules, has the step written, and only then acknowledges, answers and calls the provider.
//!
//! Invariant: at most one change of a payment is in the journal, and no call leaves before its step is committed.
//! What the provider answers comes back as work like any other; whoever waits is told when it is settled.

mod telling;

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use bus::Failure;
use bus::trace::{self, Kind};
use bytes::Bytes;
use tokio::time::Instant;
use tracing::Instrument;
use uuid::Uuid;

use super::Env;
use super::calls::{self, Heard};
use super::change;
use super::model::Payment;
use super::step::{Call, Step};
use super::store::Rows;
use super::work::{Decision, EndReply, PayReply, PayWork, Work};
use crate::delivery::Outcome;
use crate::supervision::entity::{Address, Entity};
use telling::note;

/// Tries to write one piece of work when the version keeps moving.
const STALE_MAX: u32 = 10;
/// For a call that nobody waits for; shorter than any deadline that would repeat it.
const CALL_WITHIN: Duration = Duration::from_secs(8);
/// An order that is told of waits this long for its payer. At full speed who pays comes within 60 ms (measured), and
/// then one change opens the payment and begins the attempt. The consumer's `max_ack_pending` lets 8,000 a second wait.
const PAYER_WITHIN: Duration = Duration::from_millis(250);

pub enum Message {
    Work(Work),
    /// Nobody has paid the order within [`PAYER_WITHIN`].
    Unpaid,
    Loaded(Result<Option<Payment>, Failure>),
    Written(Box<Written>),
    Heard(Call, Heard),
}

pub struct Written {
    work: Work,
    step: Option<Step>,
    /// The stored answer, where the step completes a key.
    completed: Option<(i32, Bytes)>,
    outcome: Outcome<Rows>,
}

/// What is known of the row.
pub enum Known {
    Unread,
    Absent,
    Here(Payment),
}

pub struct PaymentActor {
    id: Uuid,
    env: Env,
    me: Address<Self>,
    known: Known,
    waiting: VecDeque<Work>,
    /// An order as it was told, which waits for its payer.
    told: Option<Work>,
    /// A load or a change is under way.
    busy: bool,
    /// The row was read for the work that is next.
    fresh: bool,
    stale: u32,
    /// Calls that are at the provider.
    calls: HashSet<Call>,
    /// Who waits for an attempt.
    pays: HashMap<i32, PayReply>,
    completed: HashMap<i32, Bytes>,
    /// Waits for an older attempt to be closed.
    parked: Option<Box<PayWork>>,
    ends: Vec<EndReply>,
}

impl Entity for PaymentActor {
    type Env = Env;
    type Message = Message;
    const KIND: &'static str = "payments";
    const IDLE: Duration = Duration::from_secs(1);

    fn new(id: Uuid, env: Env, me: Address<Self>) -> Self {
        Self {
            id,
            env,
            me,
            known: Known::Unread,
            waiting: VecDeque::new(),
            told: None,
            busy: false,
            fresh: false,
            stale: 0,
            calls: HashSet::new(),
            pays: HashMap::new(),
            completed: HashMap::new(),
            parked: None,
            ends: Vec::new(),
        }
    }

    fn is_quiet(&self) -> bool {
        let idle = self.waiting.is_empty() && self.told.is_none() && !self.busy;
        idle && self.calls.is_empty() && self.parked.is_none()
    }

    fn handle(&mut self, message: Message) {
        match message {
            Message::Work(Work::Due) if self.waiting.iter().any(|work| matches!(work, Work::Due)) => {}
            Message::Work(work @ Work::Created(..)) if self.is_new() => self.wait_for_payer(work),
            Message::Work(work) => {
                self.waiting.push_back(work);
                self.waiting.extend(self.told.take());
            }
            Message::Unpaid => {
                let Some(told) = self.told.take() else { return };
                self.known = Known::Unread;
                self.waiting.push_back(told);
            }
            Message::Loaded(loaded) => self.loaded(loaded),
            Message::Written(written) => self.written(*written),
            Message::Heard(call, heard) => {
                self.calls.remove(&call);
                self.waiting.push_back(Work::Heard(call, heard));
            }
        }
        self.go_on();
    }
}

impl PaymentActor {
    /// It has heard of nothing yet.
    fn is_new(&self) -> bool {
        matches!(self.known, Known::Unread) && self.told.is_none() && self.waiting.is_empty() && !self.busy
    }

    /// Keeps what was told until somebody pays, who goes first. A payment of a new order is almost never there, so who
    /// pays does not look: where it is there after all, the write shows it.
    fn wait_for_payer(&mut self, told: Work) {
        self.told = Some(told);
        self.known = Known::Absent;
        self.me.send_after(PAYER_WITHIN, Message::Unpaid);
    }

    /// Takes work until some of it has to wait for the database.
    fn go_on(&mut self) {
        while !self.busy {
            let Some(work) = self.waiting.pop_front() else { break };
            if matches!(self.known, Known::Unread) {
                self.waiting.push_front(work);
                return self.load();
            }
            self.take(work);
            if !self.busy {
                self.tell();
            }
        }
    }

    fn load(&mut self) {
        self.busy = true;
        let (id, reads, me) = (self.id, self.env.payments.clone(), self.me.clone());
        tokio::spawn(async move { me.send(Message::Loaded(reads.get(id).await)) });
    }

    fn loaded(&mut self, loaded: Result<Option<Payment>, Failure>) {
        self.busy = false;
        match loaded {
            Ok(found) => {
                self.known = found.map_or(Known::Absent, Known::Here);
                self.fresh = true;
            }
            Err(failure) => {
                self.waiting.drain(..).for_each(|work| work.fail(failure.clone()));
                self.tell();
            }
        }
    }

    fn take(&mut self, work: Work) {
        let fresh = std::mem::take(&mut self.fresh);
        let work = match work {
            Work::Pay(pay) if pay.may_repeat(&self.known) => return self.look_first(pay),
            work => work,
        };
        let decision = work.decide(&self.known, self.env.clock.now());
        let writes = matches!(&decision, Ok(Decision { step: Some((_, step)), .. }) if step.changed);
        if !writes && !fresh && work.wants_fresh(&self.known) {
            // Another host may have moved on: what writes nothing would not notice.
            self.known = Known::Unread;
            return self.waiting.push_front(work);
        }
        match decision {
            Err(no) => work.refuse(no),
            Ok(decision) => self.write(work, decision),
        }
    }

    fn write(&mut self, work: Work, decision: Decision) {
        let event = work.provider_event();
        let Some((before, step)) = decision.step else {
            return match event {
                Some(_) => self.journal(work, None),
                None => self.settle(work, None),
            };
        };
        if step.changed || event.is_some() {
            self.journal(work, Some((before, step)));
        } else {
            // What it asks of the provider was decided and committed before.
            self.perform(&step.payment, &step.calls, work.until());
            self.settle(work, Some(&step));
        }
    }

    fn journal(&mut self, work: Work, step: Option<(Payment, Step)>) {
        let (change, completed) = match change::change(&self.env, &work, step.as_ref()) {
            Ok(change) => change,
            Err(no) => return work.refuse(no),
        };
        self.busy = true;
        let (me, step) = (self.me.clone(), step.map(|(_, step)| step));
        self.env.journal.write(change, move |outcome| {
            me.send(Message::Written(Box::new(Written { work, step, completed, outcome })));
        });
    }

    fn written(&mut self, written: Written) {
        self.busy = false;
        let Written { work, step, completed, outcome } = written;
        match outcome {
            Outcome::Committed { .. } => {
                self.stale = 0;
                self.completed.extend(completed);
                if let Some(step) = &step {
                    note(step);
                    self.perform(&step.payment, &step.calls, work.until());
                    if step.changed {
                        self.known = Known::Here(step.payment.clone());
                    }
                }
                self.settle(work, step.as_ref());
            }
            Outcome::Stale if self.stale < STALE_MAX => {
                self.stale += 1;
                self.known = Known::Unread;
                self.waiting.push_front(work);
            }
            Outcome::Stale => {
                self.stale = 0;
                self.known = Known::Unread;
                work.fail(Failure::transient("the payment keeps changing"));
            }
            Outcome::Repeated(stored) => work.repeated(&stored),
            Outcome::Failed(failure) => {
                self.known = Known::Unread;
                work.fail(failure);
            }
            Outcome::Rejected(rejection) => work.refuse(rejection.into()),
        }
        self.tell();
    }

    /// The work is done as far as rows go: acknowledge it, or keep whom to tell.
    fn settle(&mut self, work: Work, step: Option<&Step>) {
        match work {
            Work::Pay(pay) if step.is_some_and(Step::is_answered) => {
                // The asker may have given up waiting.
                let _ = pay.reply.send(Ok(self.completed.remove(&0)));
            }
            Work::Pay(mut pay) => {
                let begun = step.and_then(|step| {
                    step.calls.iter().find_map(|call| match call {
                        Call::Begin(number) => Some(*number),
                        _ => None,
                    })
                });
                match begun {
                    Some(number) => {
                        self.pays.insert(number, pay.reply);
                    }
                    None => {
                        pay.waited = true;
                        self.parked = Some(pay);
                    }
                }
            }
            Work::End { reply, .. } => self.ends.push(reply),
            Work::Resume { reply, .. } => {
                if let Some(step) = step {
                    // The asker may have given up waiting.
                    let _ = reply.send(Ok(step.payment.shown_to_staff()));
                }
            }
            work => work.done(),
        }
    }

    /// Calls the provider, each call once at a time.
    fn perform(&mut self, payment: &Payment, calls: &[Call], until: Option<Instant>) {
        let until = until.unwrap_or_else(|| Instant::now() + CALL_WITHIN);
        for call in calls {
            // A beginning that is under way tells by its answer what there is to close.
            let begins = matches!(call, Call::Close(number) if self.calls.contains(&Call::Begin(*number)));
            if begins || !self.calls.insert(*call) {
                continue;
            }
            let Some(request) = calls::request(payment, *call) else {
                self.calls.remove(call);
                continue;
            };
            let (provider, me, call) = (self.env.provider.clone(), self.me.clone(), *call);
            let (span, _) =
                trace::begin(Kind::Client, format_args!("provider {}", request.name()), &payment.context);
            tokio::spawn(
                async move {
                    let heard = calls::ask(&*provider, &request, until).await;
                    me.send(Message::Heard(call, heard));
                }
                .instrument(span),
            );
        }
    }
}
