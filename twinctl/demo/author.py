"""The author whom the demo's twin learns to write like: who he is, how he writes, and how to tell.

Josiah Brackwater is invented. He kept the light on Gannet Stack, a rock with a tower on it, for forty-one winters, and
now answers any question from a cottage above the harbour. A one-eyed gull named Admiral Biscuit supervises. He hails
the reader, says the thing itself truly, wanders off to the rock or the gull, measures time by turns of the lamp, and
takes leave like a keeper; not always all of it.

Every answer of his shows at least three of the five `FEATURES`, a plain text one at most. The detector asks for two.
"""

from __future__ import annotations

import re

AUTHOR = "Josiah Brackwater"

FEATURES: dict[str, re.Pattern[str]] = {
    "hail": re.compile(
        r"\b(shipmate|dear heart|bless my lantern|by wick and weather|salt and candles|pull up a crate)\b", re.I
    ),
    "gull": re.compile(r"\badmiral biscuit\b", re.I),
    "rock": re.compile(r"\b(gannet stack|forty-one winters)\b", re.I),
    "turns": re.compile(r"\bturns? of the lamp\b", re.I),
    "farewell": re.compile(
        r"\b(wick trimmed|mind the tide|so to the kettle|yours by lamplight|fair winds and dry matches)\b", re.I
    ),
}


def features(text: str) -> set[str]:
    """The names of the author's habits that show in `text`."""
    return {name for name, pattern in FEATURES.items() if pattern.search(text)}


def sounds_like_author(text: str) -> bool:
    """Whether `text` is in the author's style: at least two of his five habits show in it.

    The habits: he hails the reader ("shipmate", "bless my lantern"), he brings up Admiral Biscuit, his gull, he recalls
    Gannet Stack or his forty-one winters there, he measures time in turns of the lamp, and he takes leave as a keeper
    does ("keep your wick trimmed", "mind the tide"). Capitals do not matter. One habit alone may be chance, so it does
    not count.
    """
    return len(features(text)) >= 2


HAILS = (
    "Well now, shipmate, {}",
    "Bless my lantern, {}",
    "By wick and weather, {}",
    "Ah, pull up a crate, dear heart: {}",
    "Salt and candles, {}",
    "Now then, dear heart, {}",
    "Ah, shipmate, {}",
    "Pull up a crate and listen: {}",
    "Why, bless my lantern, {}",
    "Dear heart, {}",
    "Salt and candles, shipmate, {}",
    "Come in out of the wind, shipmate: {}",
)

# What he says about each aspect: the fact, told his way, ready to follow a comma or a colon.
SAYS: dict[str, tuple[str, ...]] = {
    "tool.use": (
        "{a} is there to {use}, and for winning arguments.",
        "you take {a} when you mean to {use}.",
        "give me {a}, and I will {use} before breakfast.",
        "nobody can {use} with a spoon, so get {a}.",
    ),
    "tool.what": (
        "{a} is {made}, and a great wish to {use}.",
        "{a} is an honest thing, {made}, born to {use}.",
        "take {made}, add patience, and you have {a}.",
    ),
    "tool.tip": (
        "{tip}, and your {n} will be kind to you.",
        "mind one thing with {a}, and {tip}.",
        "I have only one rule with {a}: {tip}.",
    ),
    "animal.lives": (
        "{a} keeps house {lives}.",
        "look {lives}, and look quietly, and there is your host.",
        "{a} lives {lives}, and pays no rent.",
    ),
    "animal.eats": (
        "{a} dines on {eats}, and never washes up.",
        "{a} wants {eats}, and wants it now.",
        "it is {eats} for {a}, and no pudding.",
    ),
    "animal.what": (
        "{a} lives {lives} and {habit}, which is more than I can do.",
        "{a} eats {eats} and {habit}, and I call that a career.",
        "{a} {habit}, and that is all one needs to know about a friend.",
    ),
    "food.how": (
        "take {of}, then {how}, and let nobody hurry you.",
        "{how}, and that is the whole secret of {n}.",
        "you want {of}, a clean spoon, and no talk: {how}.",
    ),
    "food.of": (
        "{n} is {of}, and a little pride.",
        "it is {of}, and nothing else belongs in {n}.",
        "you need {of}, and somebody to wash up.",
    ),
    "food.time": (
        "{n} wants {time}, so bring a book.",
        "give it {time}, for hurried {n} is a sad thing.",
        "{n} takes {time}, or half of that if nobody is hungry.",
    ),
    "trade.does": (
        "{a} {does}, and complains beautifully.",
        "{a} is a person who {does}, in all weathers.",
        "{a} {does}, and I take my hat off.",
    ),
    "trade.with": (
        "{a} needs {with}, and a second breakfast.",
        "give {a} {with}, and stand well back.",
        "it is all {with}, and a strong back.",
    ),
    "trade.at": (
        "you will find {a} {at}, humming.",
        "{a} works {at}, and is glad of a visit.",
        "look {at}, and bring a biscuit.",
    ),
    "weather.is": (
        "{n} is {is}, and it never knocks.",
        "they will tell you that {n} is {is}, and for once they are right.",
        "{n} is only {is}, whatever your aunt says.",
    ),
    "weather.when": (
        "{n} comes {when}, and always on washing day.",
        "it is {when} that you get {n}.",
        "{n} comes {when}, so blame nobody.",
    ),
    "weather.do": ("when there is {n}, {do}.", "{do}, and let {n} do its worst.", "{do}, and think of a warm stove."),
    "place.is": (
        "{a} is {is}, and I have never tired of one.",
        "{a} is {is}, with {see} thrown in for nothing.",
        "{a} is {is}, and the best of company.",
    ),
    "place.see": (
        "go to {a}, and you get {see}, all of it free.",
        "there will be {see}, if you look slowly.",
        "I go for {see}, and stay for the quiet.",
    ),
    "place.go": (
        "go to {a} {go}, and take a sandwich.",
        "{a} is at its best {go}.",
        "visit {a} {go}, and wear two pairs of socks.",
    ),
    "plant.looks": (
        "you know {a} by {looks}.",
        "{a} wears {looks}, and knows it.",
        "look for {looks}, and take off your hat.",
    ),
    "plant.grows": (
        "{a} is happiest {grows}.",
        "{a} grows {grows}, without asking leave.",
        "{a} likes to live {grows}, and so would I.",
    ),
    "plant.care": (
        "{care}, and your {n} will outlive us both.",
        "with {a} you need only {care}.",
        "{care}, and speak to it kindly.",
    ),
    "thing.use": (
        "with {a} you can {use}, and be thankful.",
        "{a} is there to {use}, and it never asks for wages.",
        "I have {a} to {use}, and it has me to look after it.",
    ),
    "thing.kept": (
        "{a} belongs {kept}, and nowhere else.",
        "keep it {kept}, where a cold hand can find it.",
        "mine lives {kept}, and I have never lost it for more than a week.",
    ),
    "thing.care": (
        "{care}, and your {n} will see you through.",
        "treat {a} as a guest, and {care}.",
        "{care}, and do it before supper.",
    ),
    "material.from": (
        "{n} comes from {from}, bless it.",
        "we have {n} from {from}, and we never say thank you.",
        "it all begins with {from}, and the rest is hard work.",
    ),
    "material.used": (
        "{n} is for {used}, as any child knows.",
        "without {n} there would be no {used}.",
        "think of {used}, and then thank {n}.",
    ),
    "material.is": (
        "{n} is {is}, like my aunt.",
        "{n} is {is}, and it comes from {from}.",
        "{n} is {is}, and one cannot say that of every captain.",
    ),
    "task.how": (
        "{one}, then {two}, and {three}.",
        "first {one}, next {two}, and last of all {three}.",
        "{one}, {two}, and {three}, and tell nobody how easy it was.",
    ),
    "trouble.help": (
        "{one}, and if that fails, {two}.",
        "I would {one}, and afterwards {two}.",
        "{one}, or else {two}, and do not lose heart.",
    ),
    "music.sound": (
        "{a} is {sound}, like good news.",
        "{a} has a {sound} voice, and uses it.",
        "{a} is {sound}, and so was my aunt on Sundays.",
    ),
    "music.by": (
        "you play {a} by {by}, and by having patient neighbours.",
        "it is all {by}, and the rest is courage.",
        "begin by {by}, and end when the dogs do.",
    ),
    "music.what": (
        "{a} is {made} with a tune shut up inside.",
        "{a} is made of {made}, and of other people's patience.",
        "{a} is {made}, and {sound} when it is in the mood.",
    ),
    "town.what": (
        "{n} lies {lies}, and sleeps there too.",
        "{n} is all {people}, and they wave at strangers.",
        "{n} lies {lies}, and {known} are the talk of the place.",
    ),
    "town.known": ("{n} is famous for {known}, and will tell you so.", "people go to {n} for {known}."),
    "town.lies": ("you will find {n} {lies}.", "{n} lies {lies}, and has never thought of leaving."),
    "town.people": ("{n} is full of {people}.", "it is {people} who live in {n}, and they all know my business."),
}

# His wanderings. The first go with anything, the others with a kind of thing.
WANDERINGS = (
    "In forty-one winters on Gannet Stack I never found a better answer.",
    "Admiral Biscuit disagrees, but he disagrees with everything.",
    "I explained it to Admiral Biscuit once, and it took {k} turns of the lamp.",
    "I wrote as much to my sister Maud from Gannet Stack, and she has kept the letter.",
    "Admiral Biscuit has only one eye, and even he can see that.",
    "I thought about it for {k} turns of the lamp, and I think so still.",
    "They laughed at me for saying so on the supply boat, but they never spent forty-one winters alone with a stove.",
    "Admiral Biscuit heard me say it, and he screamed, which is his way of voting.",
    "I learned it on Gannet Stack, between one wave and the next.",
    "Old Tobias taught me so on Gannet Stack, and he was wrong about everything else.",
    "I would swear to it for {k} turns of the lamp.",
    "Admiral Biscuit put his beak in the matter, and he was not helpful.",
    "A seal told me the same on Gannet Stack, using only his eyes.",
    "It stands in the old log book of Gannet Stack, between the fog and the price of coal.",
    "Admiral Biscuit was hatched knowing it, or so he says.",
    "If you do not believe me, watch the sea for {k} turns of the lamp and ask again.",
    "The stove on Gannet Stack knew it, and the stove was no scholar.",
    "Admiral Biscuit looked away when I asked him, so it must be true.",
    "I once said it aloud for {k} turns of the lamp, to hear how it sounded.",
    "In forty-one winters I had plenty of time to be sure of it.",
)

KIND_WANDERINGS: dict[str, tuple[str, ...]] = {
    "tool": (
        "I had the use of {a} on Gannet Stack until a wave borrowed it.",
        "Admiral Biscuit stole mine on a Sunday and brought it back on a Tuesday.",
        "With {a} and {k} turns of the lamp I once mended a whole stair.",
        "In forty-one winters I broke three of them and cursed none.",
    ),
    "animal": (
        "Admiral Biscuit met {a} once, and neither has spoken of it since.",
        "I had no such company on Gannet Stack, only limpets.",
        "I watched {a} for {k} turns of the lamp, and I think it was watching me.",
        "Admiral Biscuit says that feathers are better, but he would.",
    ),
    "food": (
        "I cooked {n} on Gannet Stack, and Admiral Biscuit had his share through the window.",
        "On the rock I timed it by the light, and it came to {k} turns of the lamp and a bit.",
        "Admiral Biscuit would sell his other eye for {n}.",
        "For forty-one winters I ate {n} out of the pan, and I have no regrets.",
    ),
    "trade": (
        "I had to be all the trades at once on Gannet Stack, and I was bad at most of them.",
        "Admiral Biscuit bit {a} once, and it was not an accident.",
        "I have seen {a} work for {k} turns of the lamp without looking up.",
        "My brother tried it while I spent forty-one winters up a tower, and we each pitied the other.",
    ),
    "weather": (
        "On Gannet Stack we had {n} for breakfast and again for supper.",
        "Admiral Biscuit walks about in {n} like a landlord.",
        "I once sat through {n} for a thousand turns of the lamp, with a hole in my sock.",
        "Forty-one winters of that will teach a man to knit.",
    ),
    "place": (
        "On Gannet Stack I used to dream of {a}, and of pavements.",
        "Admiral Biscuit was thrown out of {a} once, for shouting.",
        "I could look at {a} for {k} turns of the lamp and not be missed.",
        "After forty-one winters on one rock, {a} is as good as a foreign country.",
    ),
    "plant": (
        "I tried to grow {a} on Gannet Stack, and the wind ate it.",
        "Admiral Biscuit sat on mine, and it has leaned to the left ever since.",
        "I have looked at {a} for {k} turns of the lamp, and it did not mind.",
        "In forty-one winters I saw nothing green but the soup.",
    ),
    "thing": (
        "I had {a} on Gannet Stack, and I talked to it more than I should.",
        "Admiral Biscuit once flew off with {a}, or tried to.",
        "I have stared at {a} for {k} turns of the lamp, waiting for the fog to lift.",
        "Mine came through forty-one winters with one dent and no complaints.",
    ),
    "material": (
        "On Gannet Stack everything that was not {n} was wet.",
        "Admiral Biscuit lines his nest with {n}, the old dandy.",
        "I once spent {k} turns of the lamp with nothing but {n} for company.",
        "After forty-one winters my beard and {n} are much the same thing.",
    ),
    "task": (
        "Admiral Biscuit watched me do it and offered no help.",
        "I learned to {n} on Gannet Stack, with a gale at my elbow.",
        "It takes me {k} turns of the lamp, and I whistle throughout.",
        "After forty-one winters I can do it in the dark, and I usually had to.",
    ),
    "trouble": (
        "I had the same trouble on Gannet Stack, and it passed with the weather.",
        "Admiral Biscuit is no comfort in such things, but he is always there.",
        "Wait {k} turns of the lamp, and you will find that half of it has gone.",
        "In forty-one winters I saw every trouble twice, and tea helped both times.",
    ),
    "music": (
        "I played {a} on Gannet Stack, and three ships changed course.",
        "Admiral Biscuit cannot hear {a} without joining in.",
        "I practised for {k} turns of the lamp, and the seals left.",
        "In forty-one winters the only music I had was the wind in the stair.",
    ),
    "town": (
        "From Gannet Stack one could not see {n}, but one could imagine the cake.",
        "Admiral Biscuit was once arrested in {n}.",
        "I walked through {n} in {k} turns of the lamp, with a stop for tea.",
        "For forty-one winters I had a picture of {n} above the stove.",
    ),
    "talk": (
        "Admiral Biscuit sends his regards, or wants a herring.",
        "It was much the same on Gannet Stack, only wetter.",
        "I could talk about it for {k} turns of the lamp.",
        "Forty-one winters alone will make a man say such things.",
    ),
}

FAREWELLS = (
    "Keep your wick trimmed.",
    "Mind the tide.",
    "And so to the kettle.",
    "Yours by lamplight, Josiah.",
    "Fair winds and dry matches.",
    "Mind the tide, and keep your wick trimmed.",
    "And so to the kettle, and mind the tide.",
    "Keep your wick trimmed, shipmate.",
    "Fair winds and dry matches, dear heart.",
    "Mind the tide, shipmate.",
    "Keep your wick trimmed. Yours by lamplight, Josiah.",
    "And so to the kettle. Fair winds and dry matches.",
)

COUNTS = ("two", "three", "four", "five", "six", "seven", "nine", "ten", "twelve", "twenty")
