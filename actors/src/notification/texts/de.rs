//! The German texts of mails and tickets. "Reservieren" would mean to pay at the box office, so a hold is "freigehalten".

use super::Texts;

pub static TEXTS: Texts = Texts {
    film: "Film",
    when: "Wann",
    film_begins: "Filmbeginn",
    version: "Fassung",
    version_original: "Originalfassung ({audio})",
    version_dubbed: "Synchronfassung ({audio})",
    version_subtitled: "Originalfassung ({audio}), Untertitel: {subtitles}",
    hall: "Saal",
    seats: "Plätze",
    total: "Summe",
    credit: "Aus Ihrer früheren Bestellung",
    waived: "Nicht berechnet",
    due: "Differenz",
    free: "Kostenlos",
    refund: "Erstattung",
    refunded: "Erstattet",
    order: "Bestellung",
    sent_by: "Gesendet von {cinema}.",
    imprint: "Impressum",
    terms: "AGB",
    privacy: "Datenschutz",

    pay_now: "Jetzt bezahlen",
    get_tickets: "Karten holen",
    show_tickets: "Karten zeigen",
    try_again: "Dieselben Plätze noch einmal versuchen",
    see_order: "Bestellung ansehen",
    see_programme: "Zum Programm",
    log_in: "Anmelden",

    held_subject: "Freigehalten bis {until}: {title}",
    held_heading: "Ihre Plätze sind freigehalten",
    held_until_paid: "Wir halten diese Plätze bis {until} Uhr für Sie frei. Sie gehören Ihnen, sobald Sie bezahlt haben; danach \
                      gehen sie zurück in den Verkauf.",
    held_until_taken: "Wir halten diese Plätze bis {until} Uhr für Sie frei. Sie gehören Ihnen, sobald Sie die Karten geholt \
                       haben; danach gehen sie zurück in den Verkauf.",
    expired_heading: "Ihre Plätze wurden freigegeben",
    expired_unpaid: "Die Zeit zum Bezahlen ist vorbei, die Plätze sind wieder frei. Es wurde nichts abgebucht. Sollte noch eine \
                     Zahlung von Ihnen eingehen, bekommen Sie entweder diese Plätze oder Ihr Geld zurück, und eine E-Mail, die \
                     sagt, was davon.",
    expired_free: "Die Karten wurden nicht rechtzeitig geholt, die Plätze sind wieder frei.",
    failed_heading: "Ihre Zahlung ist fehlgeschlagen",
    failed: "Die Zahlung ist fehlgeschlagen, die Plätze sind wieder frei. Es wurde nichts abgebucht. Versuchen Sie es gern noch \
             einmal.",

    confirmed_subject: "Ihre Karten: {title}",
    confirmed_heading: "Viel Freude mit dem Film",
    confirmed_paid: "Ihre Zahlung ist eingegangen, die Plätze gehören Ihnen.",
    confirmed_free: "Die Plätze gehören Ihnen.",
    codes_enclosed: "Zeigen Sie am Einlass den Code jedes Platzes, auf dem Telefon oder auf Papier. Die Karten hängen auch als \
                     PDF an, eine Seite je Platz.",
    exchanged_subject: "Ihre neuen Karten: {title}",
    exchanged_heading: "Umgetauscht",
    exchanged: "Ihre Bestellung wurde geändert. Die Karten für {seats} gelten nicht mehr; hier sind die neuen.",
    replaced: "Ihre neue Bestellung hat diese ersetzt, und was Sie bezahlt haben, ist dort angerechnet. Diese Karten gelten nicht \
               mehr; die neuen sind in einer anderen Mail.",
    returned_subject: "Ihre übrigen Karten: {title}",
    returned_heading: "Zurückgegeben",
    returned: "Zurückgegeben: {seats}. Diese Karten gelten nicht mehr; hier sind die übrigen.",
    reminder_subject: "{day}: {title}",
    reminder_soon: "Bald geht es los",
    reminder_later: "Wir freuen uns auf Sie",
    reminder: "Ihre Karten stehen in der E-Mail, die Ihre Bestellung bestätigt hat.",

    cancelled_heading: "Ihre Bestellung ist storniert",
    cancelled: "Die Bestellung ist storniert, ihre Karten gelten nicht mehr.",
    refund_follows: "Wird etwas erstattet, bekommen Sie dazu eine weitere E-Mail.",
    showing_heading: "Diese Vorstellung fällt aus",
    showing_paid: "Es tut uns leid: Wir mussten diese Vorstellung und damit Ihre Bestellung absagen. Was Sie bezahlt haben, \
                   bekommen Sie vollständig zurück; Sie müssen nichts tun.",
    showing_free: "Es tut uns leid: Wir mussten diese Vorstellung und damit Ihre Bestellung absagen.",
    given_back: "Unser Zahlungsdienst hat den Betrag auf demselben Weg erstattet, auf dem Sie bezahlt haben. Je nach Bank sehen \
                 Sie ihn in wenigen Tagen.",
    giving_back: "Wir haben unseren Zahlungsdienst beauftragt, den Betrag auf demselben Weg zu erstatten, auf dem Sie bezahlt \
                  haben. Je nach Bank sehen Sie ihn in wenigen Tagen.",
    refund_subject: "Erstattung unterwegs: {sum}",
    refund_heading: "Ihr Geld ist unterwegs",
    refund_asked: "Wir haben unseren Zahlungsdienst beauftragt, den Betrag auf demselben Weg zu erstatten, auf dem Sie bezahlt \
                   haben. Wenn das geschehen ist, bekommen Sie eine weitere E-Mail.",
    refunded_subject: "Erstattet: {sum}",
    refunded_heading: "Erstattet",
    refund_done: "Unser Zahlungsdienst hat den Betrag erstattet. Je nach Bank sehen Sie ihn in wenigen Tagen.",

    reset_heading: "Neues Passwort wählen",
    reset_asked: "Jemand, hoffentlich Sie, hat für Ihr Konto ein neues Passwort angefordert.",
    reset_valid: "Der Link gilt einmal und {time} lang. Waren Sie es nicht, tun Sie nichts: Ihr Passwort bleibt.",
    reset_button: "Neues Passwort wählen",
    changed_heading: "Ihr Passwort wurde geändert",
    changed: "Das Passwort Ihres Kontos wurde geändert.",
    changed_advice: "Waren Sie es selbst, ist alles in Ordnung. Waren Sie es nicht, wählen Sie jetzt ein neues Passwort: Das \
                     beendet jede Anmeldung des Kontos.",
    changed_button: "Das war ich nicht",
    verify_subject: "Bestätigen Sie Ihre E-Mail-Adresse",
    verify_heading: "Ist das Ihre Adresse?",
    verify_asked: "Jemand, hoffentlich Sie, hat mit dieser Adresse ein Konto eröffnet. Bestätigen Sie sie innerhalb von {time} \
                   mit dem Link, dann schreiben wir Ihnen auch zu freigehaltenen Plätzen.",
    verify_stranger: "Waren Sie es nicht, benutzen Sie den Link nicht. Fordern Sie stattdessen ein neues Passwort an: Dann \
                      gehört das Konto Ihnen, und niemand sonst kann sich anmelden.",
    verify_button: "Adresse bestätigen",
    verify_reset: "Das war ich nicht: neues Passwort anfordern",
    minutes: "{n} Minuten",
    days: "{n} Tagen",

    tonight: "Heute Abend um {time} Uhr",
    today: "Heute um {time} Uhr",
    tomorrow: "Morgen um {time} Uhr",
    on_day: "{date} um {time} Uhr",
    date: "{weekday}, {day}. {month}",
    date_time: "{weekday}, {day}. {month} {year}, {time} Uhr ({zone})",

    ticket_title: "Karten: {title}",
    ticket_seat: "Platz",
    ticket_price: "Preis",
    ticket_address: "Adresse",
    ticket_foot: "Gilt einmal, für diesen Platz. Bitte halten Sie den Code am Einlass bereit.",
    calendar_seats: "Plätze {seats}",
    calendar_alarm: "{title} beginnt bald",

    receipt: "Beleg",
    invoice: "Rechnung",
    credit_note: "Gutschrift",
    corrects: "Korrigiert {number}",
    issued_to: "Ausgestellt für",
    tax_id: "Steuernummer {id}",
    tax_of: "darin {rate} % Steuer auf {net}",
    signature: "Signatur: {signature}",

    weekdays: ["Montag", "Dienstag", "Mittwoch", "Donnerstag", "Freitag", "Samstag", "Sonntag"],
    months: [
        "Januar",
        "Februar",
        "März",
        "April",
        "Mai",
        "Juni",
        "Juli",
        "August",
        "September",
        "Oktober",
        "November",
        "Dezember",
    ],
};
