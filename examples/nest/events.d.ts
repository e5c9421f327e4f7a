// The events of Marquee, made from its contract (docs/events.md says when each is published). Copy this file into a service.
// Ids are UUIDs, times RFC 3339 in UTC, amounts in minor units (cents). Fields are only ever added: ignore unknown ones.

/** A movie's rating by one scheme, such as FSK 12. */
export interface AgeRating {
  /** A code of `GET /v1/rating-schemes`. */
  scheme: string;
  /** One of the scheme's values. */
  value: string;
}

export type CancelReason = 'USER_REQUEST' | 'PAYMENT_FAILED' | 'HOLD_EXPIRED' | 'SHOWTIME_CANCELLED' | 'ADMIN' | 'EXCHANGED';

/** Where a ticket is sold. */
export type Channel = 'WEB' | 'BOX_OFFICE' | 'API';

/** Each a ground and the text on it, such as `#171213`. They are the same in the light and the dark scheme. */
export interface Colours {
  button: string;
  header: string;
  onButton: string;
  onHeader: string;
}

/** How guests reach the cinema. */
export interface Contact {
  /** Replies to mails go there. */
  email?: string | null;
  phone?: string | null;
}

/** Frozen when the order is made. With what its own payment charges it adds up to the order's total. */
export interface Credit {
  /** Where the money was captured, the newest first; they add up to `total`. */
  captures: CreditedCapture[];
  /** The money of the replaced order. */
  total: Money;
  /** Too little to be charged by the provider, and not charged. */
  waived: Money;
}

/** A part of an earlier capture. */
export interface CreditedCapture {
  providerRef: string;
  /** The reservation whose payment has captured it. */
  reservationId: string;
  total: Money;
}

export interface Dispute {
  createdAt: string;
  id: string;
  providerRef: string;
  /** The provider's code of the reason, such as `fraudulent`. */
  reason: string;
  status: DisputeStatus;
  /** Absent where the provider's amount could not be read. */
  total?: Money | null;
  updatedAt: string;
}

export type DisputeStatus = 'LOST' | 'INQUIRY' | 'OPEN' | 'WON' | 'CLOSED';

/** A link that proves the address is to be mailed. As with password resets, its token is not in the event: the host that sends the mail requests it by [`GetVerificationToken`]. */
export interface EmailVerificationRequested {
  email: string;
  expiresAt: string;
  /** The language of the request, for the mail. */
  locale?: Locale;
  userId: string;
  verificationId: string;
}

/** The address is proven. */
export interface EmailVerified {
  email: string;
  /** By a password reset of an account that had not proven it: the person who created the account has lost it, with the seats that it holds. */
  takenOver: boolean;
  userId: string;
  verifiedAt: string;
}

/** A fee beside the tickets' prices, such as for booking. */
export interface Fee {
  amount: number;
  channels: Channel[];
  code: string;
  name: Names;
  per: FeePer;
  /** Whether a customer who cancels gets it back. Where the cinema cancels, every fee is given back. */
  refundable: boolean;
}

/** A fee of an order. */
export interface FeeLine {
  code: string;
  /** In the order's language. */
  name: string;
  /** With tax. */
  price: Money;
  /** Whether a customer who cancels gets it back. */
  refundable: boolean;
  /** The ticket that it belongs to; absent for a fee of the whole order. */
  seat?: string | null;
  tax: Tax;
}

export type FeePer = 'TICKET' | 'ORDER';

/** A version in which a film is shown. Languages are tags of BCP 47, such as `en` or `pt-BR`. */
export interface FilmVersion {
  /** The language that is spoken. */
  audio: string;
  kind: VersionKind;
  /** The languages of the subtitles; at least one where the kind is SUBTITLED. */
  subtitles?: string[];
}

/** Who the seller is by law. */
export interface Legal {
  /** The postal address in one line. */
  address?: string | null;
  company?: string | null;
  /** The number by which the film board and distributors know the cinema. */
  filmBoardId?: string | null;
  /** The commercial register with the number. */
  register?: string | null;
  /** The VAT id or tax id, which receipts show. */
  vatId?: string | null;
}

/** One ticket of an order at the price that it was ordered for. */
export interface Line {
  /** With surcharges and tax. */
  price: Money;
  /** What the visitor shows at the door, in the order's language. */
  proof?: string | null;
  reportedAs?: ReportedAs;
  seat: string;
  /** The part of the price that surcharges are, with their tax; in minor units. */
  surcharge?: number;
  tax?: Tax;
  /** The ticket type. */
  type?: string;
  /** The type's name in the order's language; empty where the showtime has plain prices. */
  typeName?: string;
}

/** Pages that the law asks for: addresses, or paths on this server. */
export interface Links {
  imprint?: string | null;
  privacy?: string | null;
  terms?: string | null;
}

export type Locale = 'en' | 'de';

/** An amount in minor units (cents) of a currency. */
export interface Money {
  amount: number;
  currency: string;
}

export interface MovieCreated {
  createdBy: string;
  genres: string[];
  movieId: string;
  title: string;
}

export interface MovieDeleted {
  /** Who deleted it. */
  by: string;
  movieId: string;
  title: string;
  version: number;
}

/** A showtime starts soon. */
export interface MovieReminder {
  movieId: string;
  movieTitle: string;
  showtimeId: string;
  startsAt: string;
}

export interface MovieUpdated {
  ageRating?: AgeRating | null;
  /** Who changed it. */
  by: string;
  durationMinutes: number;
  formats?: string[];
  genres: string[];
  language: string;
  movieId: string;
  posterUrl?: string | null;
  rating: string;
  /** `YYYY-MM-DD`. */
  releaseDate: string;
  synopsis: string;
  title: string;
  trailerUrl?: string | null;
  version: number;
  versions?: FilmVersion[];
}

/** A short text in some of the languages, such as the name of a ticket type. */
export interface Names {
  de?: string;
  en?: string;
}

/** The account has another password; its owner is mailed. */
export interface PasswordChanged {
  /** By a mail's link, not by the old password. */
  byReset: boolean;
  changedAt: string;
  email: string;
  /** The language of the request, for the mail. */
  locale?: Locale;
  userId: string;
}

/** A new password was requested. The link's token is not in the event, which many services may read: the host that sends the mail requests it by [`GetResetToken`]. */
export interface PasswordResetRequested {
  email: string;
  expiresAt: string;
  /** The language of the request, for the mail. */
  locale?: Locale;
  name: string;
  resetId: string;
  userId: string;
}

/** A dispute has begun or changed its state. */
export interface PaymentDisputed {
  dispute: Dispute;
  paymentId: string;
  reservationId: string;
  version?: number;
}

/** This payment is over: nothing was captured and nothing will be. */
export interface PaymentFailed {
  code: string;
  paymentId: string;
  reason: string;
  reservationId: string;
  version?: number;
}

export interface PaymentInitiated {
  checkoutUrl?: string | null;
  expiresAt: string;
  paymentId: string;
  reservationId: string;
  /** The payment's version, as in its other events: an event of an older or equal version has nothing new. */
  version?: number;
}

export interface PaymentSuccess {
  paidAt: string;
  paymentId: string;
  provider: string;
  providerRef: string;
  reservationId: string;
  total: Money;
  version?: number;
}

export interface RefundCompleted {
  paymentId: string;
  refundId: string;
  reservationId: string;
  total: Money;
  version?: number;
}

export interface RefundFailed {
  code?: string | null;
  paymentId: string;
  refundId: string;
  reservationId: string;
  total: Money;
  version?: number;
}

/** The part that a cancellation gives back, agreed when the reservation was made. */
export interface RefundPolicy {
  /** This percentage of the paid money; nothing later. */
  percent: number;
  /** Until so many minutes before the show. */
  untilMinutes: number;
}

/** Payment gives back `total`. Published once for each refund; its state is requested by `rpc.payment.get_refund`. */
export interface RefundRequested {
  /** The person who requested it, where it was one. */
  by?: string | null;
  paymentId: string;
  /** The credited capture that it gives back from; absent for the payment's own. */
  providerRef?: string | null;
  reason: string;
  refundId: string;
  reservationId: string;
  total: Money;
  /** The reservation's version. */
  version?: number;
}

/** How a ticket is reported to distributors and to the tax office. */
export type ReportedAs = 'FULL' | 'REDUCED' | 'FREE';

/** The content of every `reservation.*` event. A projection ignores a `version` lower than its own. */
export interface ReservationCancelled {
  /** Links in mails open the order only with this number. */
  access?: number;
  /** The order's short name for people. Absent in events from before orders had codes. */
  code?: string | null;
  /** What pays for it besides its own payment. Gone when it is cancelled unpaid. */
  credit?: Credit | null;
  /** With the reason EXCHANGED: the captures whose money pays for the reservation in its place. */
  credited?: CreditedCapture[];
  /** What its own payment charges, where that is not `total`. */
  due?: Money | null;
  /** Empty while a guest has given none. */
  email?: string;
  /** The reservation whose place this one takes once it is paid. */
  exchangeOf?: string | null;
  expiresAt: string;
  fees?: FeeLine[];
  /** One for each seat; with the fees, the prices add up to `total`. Empty in events from before orders had lines. */
  lines?: Line[];
  /** The language that the order was made in. */
  locale?: Locale;
  movieId: string;
  movieTitle: string;
  reason: CancelReason;
  reservationId: string;
  seats: string[];
  showtimeId: string;
  /** The site that sold it. */
  siteId?: string;
  startsAt: string;
  total: Money;
  userId: string;
  version: number;
}

/** The content of every `reservation.*` event. A projection ignores a `version` lower than its own. */
export interface ReservationConfirmed {
  /** Links in mails open the order only with this number. */
  access?: number;
  /** The order's short name for people. Absent in events from before orders had codes. */
  code?: string | null;
  /** What pays for it besides its own payment. Gone when it is cancelled unpaid. */
  credit?: Credit | null;
  /** What its own payment charges, where that is not `total`. */
  due?: Money | null;
  /** Empty while a guest has given none. */
  email?: string;
  /** The reservation whose place this one takes once it is paid. */
  exchangeOf?: string | null;
  expiresAt: string;
  fees?: FeeLine[];
  /** One for each seat; with the fees, the prices add up to `total`. Empty in events from before orders had lines. */
  lines?: Line[];
  /** The language that the order was made in. */
  locale?: Locale;
  movieId: string;
  movieTitle: string;
  paymentId: string;
  reservationId: string;
  seats: string[];
  showtimeId: string;
  /** The site that sold it. */
  siteId?: string;
  startsAt: string;
  total: Money;
  userId: string;
  version: number;
}

/** The content of every `reservation.*` event. A projection ignores a `version` lower than its own. */
export interface ReservationCreated {
  /** Links in mails open the order only with this number. */
  access?: number;
  /** The order's short name for people. Absent in events from before orders had codes. */
  code?: string | null;
  /** What pays for it besides its own payment. Gone when it is cancelled unpaid. */
  credit?: Credit | null;
  /** What its own payment charges, where that is not `total`. */
  due?: Money | null;
  /** Empty while a guest has given none. */
  email?: string;
  /** The reservation whose place this one takes once it is paid. */
  exchangeOf?: string | null;
  expiresAt: string;
  fees?: FeeLine[];
  /** One for each seat; with the fees, the prices add up to `total`. Empty in events from before orders had lines. */
  lines?: Line[];
  /** The language that the order was made in. */
  locale?: Locale;
  movieId: string;
  movieTitle: string;
  reservationId: string;
  seats: string[];
  showtimeId: string;
  /** The site that sold it. */
  siteId?: string;
  startsAt: string;
  total: Money;
  userId: string;
  version: number;
}

/** A confirmed reservation has other seats now, perhaps of another showtime; it stays confirmed. */
export interface ReservationExchanged {
  /** Links in mails open the order only with this number. */
  access?: number;
  /** The order's short name for people. Absent in events from before orders had codes. */
  code?: string | null;
  /** What pays for it besides its own payment. Gone when it is cancelled unpaid. */
  credit?: Credit | null;
  /** What its own payment charges, where that is not `total`. */
  due?: Money | null;
  /** Empty while a guest has given none. */
  email?: string;
  /** The reservation whose place this one takes once it is paid. */
  exchangeOf?: string | null;
  expiresAt: string;
  fees?: FeeLine[];
  /** One for each seat; with the fees, the prices add up to `total`. Empty in events from before orders had lines. */
  lines?: Line[];
  /** The language that the order was made in. */
  locale?: Locale;
  movieId: string;
  movieTitle: string;
  paymentId: string;
  previousSeats: string[];
  previousShowtimeId: string;
  reservationId: string;
  seats: string[];
  showtimeId: string;
  /** The site that sold it. */
  siteId?: string;
  startsAt: string;
  total: Money;
  userId: string;
  version: number;
}

/** Mails about the reservation go to another address from now on: the one in `email`. */
export interface ReservationReaddressed {
  /** Links in mails open the order only with this number. */
  access?: number;
  /** The person who changed it. */
  by?: string | null;
  /** The order's short name for people. Absent in events from before orders had codes. */
  code?: string | null;
  /** What pays for it besides its own payment. Gone when it is cancelled unpaid. */
  credit?: Credit | null;
  /** What its own payment charges, where that is not `total`. */
  due?: Money | null;
  /** Empty while a guest has given none. */
  email?: string;
  /** The reservation whose place this one takes once it is paid. */
  exchangeOf?: string | null;
  expiresAt: string;
  fees?: FeeLine[];
  /** One for each seat; with the fees, the prices add up to `total`. Empty in events from before orders had lines. */
  lines?: Line[];
  /** The language that the order was made in. */
  locale?: Locale;
  movieId: string;
  movieTitle: string;
  /** Empty where a guest's order had none yet. */
  previousEmail?: string | null;
  reservationId: string;
  seats: string[];
  showtimeId: string;
  /** The site that sold it. */
  siteId?: string;
  startsAt: string;
  status: ReservationStatus;
  total: Money;
  userId: string;
  version: number;
}

export type ReservationStatus = 'PENDING' | 'CONFIRMED' | 'CANCELLED' | 'REFUNDED';

/** Seats of a confirmed reservation were given back; the others stay, for the prices that they were sold for, and it stays confirmed. */
export interface ReservationUpdated {
  /** Links in mails open the order only with this number. */
  access?: number;
  /** The order's short name for people. Absent in events from before orders had codes. */
  code?: string | null;
  /** What pays for it besides its own payment. Gone when it is cancelled unpaid. */
  credit?: Credit | null;
  /** What its own payment charges, where that is not `total`. */
  due?: Money | null;
  /** Empty while a guest has given none. */
  email?: string;
  /** The reservation whose place this one takes once it is paid. */
  exchangeOf?: string | null;
  expiresAt: string;
  fees?: FeeLine[];
  /** One for each seat; with the fees, the prices add up to `total`. Empty in events from before orders had lines. */
  lines?: Line[];
  /** The language that the order was made in. */
  locale?: Locale;
  movieId: string;
  movieTitle: string;
  paymentId: string;
  /** What is given back for them; requested by a `refund.requested` of its own, unless it is nothing. */
  refund: Money;
  reservationId: string;
  returnedSeats: string[];
  seats: string[];
  showtimeId: string;
  /** The site that sold it. */
  siteId?: string;
  startsAt: string;
  total: Money;
  userId: string;
  version: number;
}

/** Each role may do what those before it may. */
export type Role = 'USER' | 'ADMIN' | 'SUPER_ADMIN' | 'GUEST';

/** A row of seats as they stand, from left to right as seen from the seats. */
export interface Row {
  /** 1–8 letters or digits of any script; no two rows have the same. */
  label: string;
  seats: Seat[];
}

/** When sales end before a showtime begins, for guests. Staff sell until the start. */
export interface SalesCutoffs {
  /** Sales on the web end so many minutes before the start; 0: with the start. */
  webMinutes?: number;
}

export interface Seat {
  /** Its place, counted from 1 at the left as seen from the seats. When absent, its place in the row's list, gaps counted. */
  column?: number | null;
  kind: SeatKind;
  /** The number on the seat: any number, in any order. */
  number: number;
  /** Seats of a row with the same unit, such as a love seat, are sold together. */
  unit?: number | null;
}

export type SeatKind = 'STANDARD' | 'WHEELCHAIR' | 'LOVESEAT' | 'COMPANION' | 'GAP';

/** A published showtime with all that selling its seats needs, frozen as it was when it was scheduled or last changed. */
export interface ShowtimeCancelled {
  auditoriumId: string;
  auditoriumName: string;
  /** Who cancelled it. */
  by?: string | null;
  endsAt: string;
  /** Absent where it is not known. */
  filmVersion?: FilmVersion | null;
  /** Such as `3D`; absent where it is not known. */
  format?: string | null;
  /** Advertising and trailers before the film begins, in minutes. The end of the showtime counts it. */
  minutesBeforeFilm?: number;
  movieId: string;
  movieTitle: string;
  /** Seats can be bought from then on; absent where they can from the publication on. */
  onSaleAt?: string | null;
  /** What it has otherwise than its site. */
  overrides?: ShowtimeOverrides;
  /** Of the default ticket type, as they are first shown. */
  prices: Record<string, Money>;
  rows: Row[];
  showtimeId: string;
  /** The site of its auditorium when it was scheduled. */
  siteId?: string;
  startsAt: string;
  status: ShowtimeStatus;
  /** Absent where the showtime has plain prices: then `prices` are all that it sells by. */
  tariff?: Tariff | null;
  timeZone: string;
  /** Absent in events from before showtimes could change. */
  version?: number;
}

/** Published by reservation: this version of the showtime would take seats from somebody who got them while the change was decided. Rows and start stay as given here. */
export interface ShowtimeChangeRefused {
  rows: Row[];
  showtimeId: string;
  startsAt: string;
  /** The version that is refused. */
  version: number;
}

/** What a showtime has otherwise than its site; what is absent is as the site says. */
export interface ShowtimeOverrides {
  refundPolicy?: RefundPolicy | null;
  salesCutoffs?: SalesCutoffs | null;
}

/** A published showtime with all that selling its seats needs, frozen as it was when it was scheduled or last changed. */
export interface ShowtimeScheduled {
  auditoriumId: string;
  auditoriumName: string;
  endsAt: string;
  /** Absent where it is not known. */
  filmVersion?: FilmVersion | null;
  /** Such as `3D`; absent where it is not known. */
  format?: string | null;
  /** Advertising and trailers before the film begins, in minutes. The end of the showtime counts it. */
  minutesBeforeFilm?: number;
  movieId: string;
  movieTitle: string;
  /** Seats can be bought from then on; absent where they can from the publication on. */
  onSaleAt?: string | null;
  /** What it has otherwise than its site. */
  overrides?: ShowtimeOverrides;
  /** Of the default ticket type, as they are first shown. */
  prices: Record<string, Money>;
  rows: Row[];
  showtimeId: string;
  /** The site of its auditorium when it was scheduled. */
  siteId?: string;
  startsAt: string;
  status: ShowtimeStatus;
  /** Absent where the showtime has plain prices: then `prices` are all that it sells by. */
  tariff?: Tariff | null;
  timeZone: string;
  /** Absent in events from before showtimes could change. */
  version?: number;
}

export type ShowtimeStatus = 'ON_SALE' | 'CANCELLED' | 'DRAFT';

/** The showtime after a change. */
export interface ShowtimeUpdated {
  auditoriumId: string;
  auditoriumName: string;
  /** Who changed it; absent when the movie host undid a refused change. */
  by?: string | null;
  endsAt: string;
  /** Absent where it is not known. */
  filmVersion?: FilmVersion | null;
  /** Such as `3D`; absent where it is not known. */
  format?: string | null;
  /** Advertising and trailers before the film begins, in minutes. The end of the showtime counts it. */
  minutesBeforeFilm?: number;
  movieId: string;
  movieTitle: string;
  /** Seats can be bought from then on; absent where they can from the publication on. */
  onSaleAt?: string | null;
  /** What it has otherwise than its site. */
  overrides?: ShowtimeOverrides;
  /** What it had otherwise than its site before, where that has changed. */
  previousOverrides?: ShowtimeOverrides | null;
  /** The former prices, where prices changed. */
  previousPrices?: Record<string, Money> | null;
  /** Of the default ticket type, as they are first shown. */
  prices: Record<string, Money>;
  rows: Row[];
  showtimeId: string;
  /** The site of its auditorium when it was scheduled. */
  siteId?: string;
  startsAt: string;
  status: ShowtimeStatus;
  /** Absent where the showtime has plain prices: then `prices` are all that it sells by. */
  tariff?: Tariff | null;
  timeZone: string;
  /** Absent in events from before showtimes could change. */
  version?: number;
}

/** A site was saved. */
export interface SiteUpdated {
  /** Who saved it. */
  by: string;
  /** The paths of the fields that it changed, such as `theme.logoUrl`. Empty in events from before they were named. */
  changed?: string[];
  contact?: Contact;
  /** ISO 3166-1, two capital letters. */
  country?: string | null;
  createdAt: string;
  /** The default currency of new prices. */
  currency: string;
  id: string;
  /** The languages of the page, the default first. */
  languages: Locale[];
  legal?: Legal;
  links?: Links;
  /** The name of the sender of mails; without it the site's name. */
  mailSender?: string | null;
  /** The cinema's name, as guests see it everywhere. */
  name: string;
  /** Of new orders; a showtime may have another. */
  refundPolicy: RefundPolicy;
  /** Of new orders; a showtime may have others. */
  salesCutoffs?: SalesCutoffs;
  /** The short name for addresses and files: 1–40 small letters, digits and dashes. */
  slug: string;
  theme?: Theme;
  /** IANA name: in it the year of a receipt's number begins. */
  timeZone: string;
  updatedAt: string;
  version: number;
}

export interface Tariff {
  /** Absent where the showtime has plain prices. */
  card?: TariffCard | null;
  currency: string;
  fees?: Fee[];
  surcharges?: TariffSurcharge[];
  tax?: TaxRules;
  /** In the order in which they are offered. An order that names no types gets the first one, the default type, which has a price for each kind of seat that is sold. */
  types: TariffType[];
}

/** The card that a tariff was copied from, as it was called then. */
export interface TariffCard {
  id: string;
  name: string;
}

/** An amount on top of each ticket, such as for 3D. It is part of the ticket's price. */
export interface TariffSurcharge {
  amount: number;
  code: string;
  name: Names;
}

/** A ticket type as a tariff froze it. */
export interface TariffType {
  /** An order may have at most as many of this type as it has of that one. */
  accompanies?: string | null;
  channels: Channel[];
  code: string;
  mostPerOrder?: number | null;
  name: Names;
  /** Without surcharges. */
  prices: Record<string, number>;
  /** What the visitor shows at the door, such as a student card. */
  proof?: Names;
  reportedAs: ReportedAs;
}

/** The tax that an amount contains. */
export interface Tax {
  /** In minor units of the price's currency. */
  amount: number;
  /** In thousandths of a percent: 19 % is 19000. */
  rate: number;
}

/** Rates in thousandths of a percent: 19 % is 19000. */
export interface TaxRules {
  fees: number;
  /** Whether the amounts contain the tax; else it is added to them. */
  included: boolean;
  tickets: number;
}

export interface Theme {
  /** Without them the page has its own. */
  colours?: Colours | null;
  /** An address, or a path on this server. Without it the page shows the name alone. */
  logoUrl?: string | null;
}

/** A user's personal data are to be removed everywhere. Of a user with many orders there are several of these events. */
export interface UserErased {
  at: string;
  /** At most 500 of the user's orders, with those that a guest has given to the account. */
  reservationIds?: string[];
  userId: string;
}

/** Orders of a guest belong to an account now. Published by reservation, in the commit that changes their owner. */
export interface UserMerged {
  /** The account's address, which the orders' mails go to. */
  email: string;
  guestId: string;
  reservationIds: string[];
  /** The account. */
  userId: string;
}

export interface UserRegistered {
  email: string;
  name: string;
  role: Role;
  userId: string;
}

export interface UserRoleChanged {
  by?: string | null;
  email: string;
  name: string;
  role: Role;
  userId: string;
}

/** How the sound of a film relates to its original. */
export type VersionKind = 'OV' | 'DUBBED' | 'SUBTITLED';

/** The payload of each event, by the event's name. */
export interface MarqueeEvents {
  'user.verification_requested': EmailVerificationRequested;
  'user.email_verified': EmailVerified;
  'user.erased': UserErased;
  'user.merged': UserMerged;
  'user.password_changed': PasswordChanged;
  'user.password_reset_requested': PasswordResetRequested;
  'user.registered': UserRegistered;
  'user.role_changed': UserRoleChanged;
  'movie.created': MovieCreated;
  'movie.updated': MovieUpdated;
  'movie.deleted': MovieDeleted;
  'showtime.scheduled': ShowtimeScheduled;
  'showtime.updated': ShowtimeUpdated;
  'showtime.cancelled': ShowtimeCancelled;
  'showtime.change_refused': ShowtimeChangeRefused;
  'movie.reminder': MovieReminder;
  'reservation.created': ReservationCreated;
  'reservation.confirmed': ReservationConfirmed;
  'reservation.cancelled': ReservationCancelled;
  'reservation.exchanged': ReservationExchanged;
  'reservation.updated': ReservationUpdated;
  'reservation.readdressed': ReservationReaddressed;
  'refund.requested': RefundRequested;
  'payment.initiated': PaymentInitiated;
  'payment.success': PaymentSuccess;
  'payment.failed': PaymentFailed;
  'payment.disputed': PaymentDisputed;
  'refund.completed': RefundCompleted;
  'refund.failed': RefundFailed;
  'site.updated': SiteUpdated;
}

export type EventName = keyof MarqueeEvents;
