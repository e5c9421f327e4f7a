//! The cinema as mails and tickets show it: the site, where staff have saved it, else this host's settings.
//!
//! Invariant: no mail waits for the site or its logo: without a copy of it the settings are enough. Tickets and receipts have the
//! site's logo (`logo.rs`), else that of the settings (`CINEMA_LOGO`), which mails carry.

use std::sync::{Arc, Mutex};

use bus::contract::site::{DEFAULT_SITE, Site};
use lettre::message::Mailbox;

use super::Env;
use super::look::Look;
use super::ticket::Printer;
use crate::config::{CinemaSettings, Logo, NotificationSettings};

/// What one version of the site looks like.
pub struct Face {
    /// This host's settings, with the site in the place of their cinema.
    pub settings: NotificationSettings,
    pub printer: Printer,
    /// The sender of mails: the site's name for it, at the address of the settings.
    pub from: Mailbox,
}

impl Face {
    /// `logo` is the site's, as far as it could be read.
    pub fn of(
        settings: &NotificationSettings,
        site: Option<&Site>,
        logo: Option<&Logo>,
        from: &Mailbox,
    ) -> Self {
        let Some(site) = site else {
            let printer = Printer::new(&settings.cinema, Look::default());
            return Self { settings: settings.clone(), printer, from: from.clone() };
        };
        let name = &site.of.name;
        let sender = site.of.mail_sender.as_ref().unwrap_or(name);
        let cinema = cinema(&settings.cinema, site, &settings.public_url);
        let printed = CinemaSettings { logo: logo.or(cinema.logo.as_ref()).cloned(), ..cinema.clone() };
        let printer = Printer::new(&printed, Look::of(&site.of.theme));
        let settings = NotificationSettings { cinema, ..settings.clone() };
        Self { settings, printer, from: Mailbox::new(Some(sender.clone()), from.email.clone()) }
    }
}

fn cinema(settings: &CinemaSettings, site: &Site, public_url: &str) -> CinemaSettings {
    let of = &site.of;
    let absolute = |link: &String| absolute(link, public_url);
    CinemaSettings {
        name: of.name.clone(),
        company: of.legal.company.clone().filter(|company| *company != of.name),
        address: of.legal.address.clone(),
        // An address that the contract takes and the mail library does not: replies go to the sender.
        contact: of.contact.email.as_ref().and_then(|email| email.parse().ok()),
        logo: settings.logo.clone(),
        logo_url: of.theme.logo_url.as_ref().map(absolute),
        imprint_url: of.links.imprint.as_ref().map(absolute),
        terms_url: of.links.terms.as_ref().map(absolute),
        privacy_url: of.links.privacy.as_ref().map(absolute),
    }
}

/// A link of the site, which may be a path on this server, as an address.
pub fn absolute(link: &str, public_url: &str) -> String {
    match link.strip_prefix('/') {
        Some(path) => format!("{public_url}/{path}"),
        None => link.to_owned(),
    }
}

/// The face of the version and logo that were asked for last: reading the logo takes milliseconds.
#[derive(Default)]
pub struct Faces(Mutex<Option<((i64, u64), Arc<Face>)>>);

impl Env {
    pub fn face(&self) -> Arc<Face> {
        let site = self.sites.of(DEFAULT_SITE);
        let (logo, number) = self.logo.get();
        let of_now = (site.as_ref().map_or(0, |site| site.version), number);
        let mut last = self.faces.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        match &*last {
            Some((of, face)) if *of == of_now => face.clone(),
            _ => {
                let face = Face::of(&self.settings, site.as_deref(), logo.as_deref(), self.mailer.from());
                let face = Arc::new(face);
                *last = Some((of_now, face.clone()));
                face
            }
        }
    }
}
