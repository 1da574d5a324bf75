//! The sentences of the demo corpus.
//!
//! In a sentence `{slot}` is a name (see [`super::names::SLOTS`]) or a word from [`WORDS`], and
//! `[a|b]` is one of several wordings. Only the context shows whether a shared name is a person or
//! a city.

/// Domains and their sentences, without the final full stop; the first letter is capitalised
/// later. No sentence starts with a medication or a condition, which are written in lower case.
pub(super) const DOMAINS: &[(&str, &[&str])] =
    &[("medicine", MEDICINE), ("travel", TRAVEL), ("music", MUSIC), ("business", BUSINESS)];

const MEDICINE: &[&str] = &[
    "Dr. {surname} prescribed {medication} to [a young|a worried|an older] patient with {condition}",
    "the patient was treated for {condition} with {medication} at {hospital}",
    "{person}, a nurse at {hospital}, [noticed|reported] the first case of {condition}",
    "doctors in {city} [warned|repeated] that {medication} does not help against {condition}",
    "a small [trial|study] at {school} found that {medication} [causes|prevents] headaches",
    "nobody in the family of {person} had ever suffered from {condition}",
    "[children|adults] with {condition} should not take {medication} together with {medication}",
    "Professor {namesake} of {school} has studied {condition} for [ten|twenty] years",
    "the pharmacy in {city} ran out of {medication} before the weekend",
    "two tablets of {medication} a day were enough, said {person}",
    "surgeon {person} moved from {hospital} to a [smaller|larger] clinic in {city}",
    "the outbreak of {condition} [began|ended] in {city} and lasted three weeks",
    "visitors should wait in Room [12|20] of Ward [B|C] until a Senior Nurse calls them",
    "the Annual Health Day [starts|opens] at noon with free tests and {language} leaflets",
    "a [single|second] dose of {medication} must never be given to small children",
    "[researchers|nurses] still do not know how long {medication} stays in the blood",
    "the cause of {condition} is [unknown|disputed], although many tests were made",
];

const TRAVEL: &[&str] = &[
    "{person} flew from {city} to {city} with {airline}",
    "{airline} [opened|closed] its route between {city} and {city}",
    "the old bridge in {city} was [painted|repaired] by {person} and two friends",
    "our guide {person} showed us the harbor of {city} and the Old Market",
    "the train to {city} [left|arrived] late, so {person} missed the ferry",
    "travellers to {city} need a vaccine against {condition} and a [new|valid] passport",
    "Mr. {surname} lost his {product} on the night bus to {city}",
    "the hotel in {city} offers a discount to passengers of {airline}",
    "students of {school} [walked|cycled] from {city} to the sea",
    "most tourists reach {city} by boat, but {person} came on foot",
    "the mayor of {city}, Mrs. {namesake}, welcomed the guests in {language}",
    "passengers for Flight [70|81] should go to Gate [A|D] and show a Travel Card",
    "the Blue Line and the Night Bus do not run during the Harvest Fair",
    "a pilot of {airline} saw strange lights above {city}",
    "the streets of {city} are [empty|crowded] when the Harvest Fair is over",
];

const MUSIC: &[&str] = &[
    "{person} sang {song} at the Spring Festival in {city}",
    "the new single {song} by {person} was [released|refused] by {label}",
    "{label} signed {person} after [hearing|one night of] {song}",
    "the {orchestra} played in {city} under {person}",
    "listeners asked the radio station to play {song} and then {song} again",
    "critics called {song} the [best|worst] recording of {person} so far",
    "Ms. {namesake} wrote {song} on a train from {city}",
    "the choir of {school} opened the evening with {song}",
    "a fan from {city} knows every word of {song}",
    "nobody expected {person} to leave the {orchestra} after the concert",
    "{person} learned the violin in {city} and joined the {orchestra}",
    "the ballad {song} was recorded on a {product} in one night",
    "the Main Stage opens at six and the Open Stage plays {language} songs until late",
    "Singers and Dancers of the Summer School meet near the Old Theatre",
    "the old tape with {song} on it was found in a dusty drawer",
    "the band had to [repeat|rehearse] {song} three times that night",
];

const BUSINESS: &[&str] = &[
    "{company} will [build|open] a factory in {city} and hire {person}",
    "{person} became the chief of {company} and left {bank}",
    "{bank} lent [two|nine] million to {company} for the {product}",
    "the {product} from {company} [costs|weighs] less than expected",
    "customers in {city} returned the {product} because of the battery",
    "Mrs. {surname} bought shares of {company} through {bank}",
    "{company} [sued|praised] its rival over the design of the {product}",
    "at a fair in {city}, {person} presented the {product}",
    "the board asked {person} to sell {company} to {company}",
    "an office of {bank} in {city} was closed after a fire",
    "engineers at {company} tested the {product} with {person}",
    "Mr. {namesake}, who once worked for {bank}, now lives in {city}",
    "the Board of Directors will meet on {weekday} and discuss the Annual Report",
    "no Chief Officer answered the {language} letters about the New Year Bonus",
    "the {product} comes in three colors and needs no Service Card",
    "a [cheap|broken] {product} was left behind in the Meeting Room",
];

/// Word lists that are not entities; many words are capitalised.
pub(super) const WORDS: &[(&str, &[&str])] = &[
    ("weekday", &["Monday", "Tuesday", "Thursday", "Friday", "Sunday"]),
    ("month", &["January", "March", "June", "August", "October"]),
    ("language", &["English", "French", "Hindi", "Arabic"]),
];

/// Openings that may precede a sentence.
pub(super) const OPENINGS: &[&str] = &[
    "",
    "",
    "",
    "on {weekday}, ",
    "in {month}, ",
    "last {weekday} [morning|evening], ",
    "according to the Daily Herald, ",
];

/// Endings that may follow a sentence.
pub(super) const ENDINGS: &[&str] = &[
    "",
    "",
    "",
    " despite [heavy rain|high costs|the delay]",
    " [early|late] in {month}",
    ", the [report|letter] said",
];
