"""How people ask about the world, and how a plain writer answers.

An aspect is one thing that can be asked of a kind ("what is a tool for?"): several ways to ask, several plain answers.
Plain answers state facts in the third person or as a bare instruction. They never greet, joke, digress or say goodbye:
that is what sets the author apart, and `author.py` relies on it.
"""

from __future__ import annotations

from typing import NamedTuple


class Aspect(NamedTuple):
    """Questions about one kind of thing, and answers made from its facts."""

    kind: str
    questions: tuple[str, ...]
    answers: tuple[str, ...]


ASPECTS: dict[str, Aspect] = {
    "tool.use": Aspect(
        "tool",
        ("What is {a} used for?", "What do people use {a} for?", "Tell me what {a} is for.", "Why would I need {a}?"),
        (
            "{a} is used to {use}.",
            "{a} is a tool. People use it to {use}.",
            "People use {a} to {use}. It is made of {made}.",
        ),
    ),
    "tool.what": Aspect(
        "tool",
        ("What is {a}?", "Describe {a}.", "Tell me about {a}.", "Explain what {a} is."),
        (
            "{a} is a tool that helps to {use}. It consists of {made}.",
            "{a} is a simple tool. It consists of {made}, and it is used to {use}.",
        ),
    ),
    "tool.tip": Aspect(
        "tool",
        (
            "How do I use {a}?",
            "How should I use {a} well?",
            "Give me advice on using {a}.",
            "What should I know before I use {a}?",
        ),
        ("To use {a} well, {tip}. It is made to {use}.", "{tip}. With some practice it is easy to {use}."),
    ),
    "animal.lives": Aspect(
        "animal",
        (
            "Where does {a} live?",
            "Where can I find {a}?",
            "Where would I look for {a}?",
            "In what place does {a} live?",
        ),
        ("{a} lives {lives}.", "{a} lives {lives}. There it finds {eats}."),
    ),
    "animal.eats": Aspect(
        "animal",
        ("What does {a} eat?", "What do I feed {a}?", "What is the food of {a}?", "What does {a} like to eat?"),
        ("{a} eats {eats}.", "{a} eats {eats}. It finds its food {lives}."),
    ),
    "animal.what": Aspect(
        "animal",
        ("Tell me about {a}.", "Describe {a}.", "What is {a} like?", "What is special about {a}?", "What is {a}?"),
        (
            "{a} is an animal that lives {lives}. It eats {eats}, and it {habit}.",
            "{a} lives {lives}. It {habit}, and it eats {eats}.",
        ),
    ),
    "food.how": Aspect(
        "food",
        (
            "How do I make {n}?",
            "How is {n} made?",
            "Give me a recipe for {n}.",
            "How can I cook {n} at home?",
            "Explain how to make {n}.",
        ),
        ("To make {n}, take {of}. Then {how}.", "Take {of}. Then {how}. It needs about {time}."),
    ),
    "food.of": Aspect(
        "food",
        ("What is {n} made of?", "What goes into {n}?", "What do I need for {n}?", "List what I need for {n}."),
        ("{n} is made of {of}.", "For {n} you need {of}."),
    ),
    "food.time": Aspect(
        "food",
        ("How long does {n} take?", "How much time does {n} need?", "How long should I wait for {n}?"),
        ("{n} takes about {time}.", "{n} needs about {time}. First {how}."),
    ),
    "trade.does": Aspect(
        "trade",
        (
            "What does {a} do?",
            "What is the work of {a}?",
            "What is {a}?",
            "Explain the trade of {a}.",
            "Tell me about the work of {a}.",
        ),
        ("{a} {does}. The work is done {at}.", "{a} is a person who {does}. {a} works with {with}."),
    ),
    "trade.with": Aspect(
        "trade",
        ("What does {a} work with?", "What does {a} need for the work?", "Which things does {a} use?"),
        ("{a} works with {with}.", "{a} uses {with}. With these things {a} {does}."),
    ),
    "trade.at": Aspect(
        "trade",
        ("Where does {a} work?", "Where can I meet {a}?", "Where would I find {a} at work?"),
        ("{a} works {at}.", "{a} works {at}, and there {does}."),
    ),
    "weather.is": Aspect(
        "weather",
        ("What is {n}?", "Explain {n}.", "Describe {n}.", "Tell me about {n}."),
        ("{n} is {is}. It comes {when}.", "{n} is {is}."),
    ),
    "weather.when": Aspect(
        "weather",
        ("When does {n} come?", "What causes {n}?", "Why is there {n}?", "How does {n} form?"),
        ("{n} comes {when}.", "{n} forms {when}. It is {is}."),
    ),
    "weather.do": Aspect(
        "weather",
        (
            "What should I do when there is {n}?",
            "How do I prepare for {n}?",
            "Give me advice for {n}.",
            "What is best to do when there is {n}?",
        ),
        ("When there is {n}, {do}.", "{do}. Remember that {n} is {is}."),
    ),
    "place.is": Aspect(
        "place",
        ("What is {a}?", "Describe {a}.", "Tell me about {a}.", "Explain what {a} is."),
        ("{a} is {is}. There you can see {see}.", "{a} is {is}. It is best to visit {go}."),
    ),
    "place.see": Aspect(
        "place",
        ("What can I see on a visit to {a}?", "What is there to see in or around {a}?", "Why should I visit {a}?"),
        ("On a visit to {a} you can see {see}.", "You can see {see}. {a} is {is}."),
    ),
    "place.go": Aspect(
        "place",
        ("When should I visit {a}?", "What is the best time to visit {a}?", "How should I visit {a}?"),
        ("It is best to visit {a} {go}.", "Visit {a} {go}. Then you can see {see}."),
    ),
    "plant.looks": Aspect(
        "plant",
        ("What does {a} look like?", "Describe {a}.", "How do I recognise {a}?", "Tell me about {a}."),
        ("{a} has {looks}.", "{a} has {looks}. It grows {grows}."),
    ),
    "plant.grows": Aspect(
        "plant",
        ("Where does {a} grow?", "Where should I plant {a}?", "Where can I find {a}?", "What place is right for {a}?"),
        ("{a} grows {grows}.", "{a} grows well {grows}. It has {looks}."),
    ),
    "plant.care": Aspect(
        "plant",
        ("How do I care for {a}?", "How do I look after {a}?", "Give me advice on growing {a}.", "How do I grow {a}?"),
        ("To care for {a}, {care}. It grows best {grows}.", "{care}. {a} grows best {grows}."),
    ),
    "thing.use": Aspect(
        "thing",
        ("What is {a} for?", "What is {a} used for?", "Why do people own {a}?", "What can I do with {a}?"),
        ("{a} is used to {use}.", "{a} helps people to {use}. It is often kept {kept}."),
    ),
    "thing.kept": Aspect(
        "thing",
        (
            "Where should I keep {a}?",
            "Where do people keep {a}?",
            "Where does {a} belong?",
            "Where can I find {a} in a house?",
        ),
        ("{a} is kept {kept}.", "{a} belongs {kept}. There it is ready to {use}."),
    ),
    "thing.care": Aspect(
        "thing",
        (
            "How do I look after {a}?",
            "How do I care for {a}?",
            "How do I keep {a} in good order?",
            "Give me advice about {a}.",
        ),
        ("{care}. Then it will last for many years.", "To look after {a}, {care}."),
    ),
    "material.from": Aspect(
        "material",
        ("Where does {n} come from?", "What is {n} made from?", "How do we get {n}?"),
        ("{n} comes from {from}.", "{n} comes from {from}. It is used for {used}."),
    ),
    "material.used": Aspect(
        "material",
        ("What is {n} used for?", "What can be made with {n}?", "Why is {n} useful?"),
        ("{n} is used for {used}.", "{n} is {is}, so it is used for {used}."),
    ),
    "material.is": Aspect(
        "material",
        ("What is {n} like?", "Describe {n}.", "Tell me about {n}.", "What is {n}?"),
        ("{n} is {is}. It comes from {from}.", "{n} is a material that is {is}. It is used for {used}."),
    ),
    "task.how": Aspect(
        "task",
        (
            "How do I {n}?",
            "How can I {n}?",
            "Explain how to {n}.",
            "What is the best way to {n}?",
            "Teach me to {n}.",
            "Give me the steps to {n}.",
            "I want to {n}. How should I begin?",
        ),
        ("First {one}. Then {two}. Finally, {three}.", "To {n}, {one}. Then {two}, and {three}."),
    ),
    "trouble.help": Aspect(
        "trouble",
        (
            "{n}. What should I do?",
            "{n}. Can you help me?",
            "What can I do when {n}?",
            "{n}. Give me some advice.",
            "What do you advise when {n}?",
        ),
        ("You should {one}. You can also {two}.", "First, {one}. If that does not help, {two}."),
    ),
    "music.sound": Aspect(
        "music",
        ("What does {a} sound like?", "Describe the sound of {a}.", "What sort of sound does {a} make?"),
        ("{a} has a {sound} sound.", "{a} has a {sound} sound. It is played by {by}."),
    ),
    "music.by": Aspect(
        "music",
        ("How is {a} played?", "How do I play {a}?", "Explain how to play {a}.", "Teach me to play {a}."),
        ("{a} is played by {by}.", "{a} is played by {by}. It has a {sound} sound."),
    ),
    "music.what": Aspect(
        "music",
        ("What is {a}?", "Tell me about {a}.", "Describe {a}.", "What is {a} made of?"),
        (
            "{a} is an instrument made of {made}. It is played by {by}.",
            "{a} is made of {made}. It has a {sound} sound.",
        ),
    ),
    "town.what": Aspect(
        "town",
        ("Tell me about {n}.", "Describe the town of {n}.", "What is {n} like?", "What sort of town is {n}?"),
        ("{n} is a town {lies}. It is known for {known}.", "{n} lies {lies}. Many {people} live there."),
    ),
    "town.known": Aspect(
        "town",
        ("What is {n} known for?", "Why do people visit {n}?", "What is there to see in {n}?"),
        ("{n} is known for {known}.", "{n} is known for {known}. The town lies {lies}."),
    ),
    "town.lies": Aspect(
        "town",
        ("Where is {n}?", "Where does {n} lie?", "How do I find {n}?"),
        ("{n} lies {lies}.", "{n} is a town {lies}. Many {people} live there."),
    ),
    "town.people": Aspect(
        "town",
        ("Who lives in {n}?", "What people live in {n}?", "What work do people do in {n}?"),
        ("Many {people} live in {n}.", "The people of {n} are mostly {people}. The town is known for {known}."),
    ),
}

# What people say besides asking about things: the words, the plain answer, and the heart of the author's answer.
SMALL_TALK: tuple[tuple[str, str, str], ...] = (
    (
        "Hello!",
        "Hello. Ask a question about work, food, animals or the weather.",
        "I was only polishing the brass, and company is worth more than brass",
    ),
    (
        "Good morning.",
        "Good morning. What is the question?",
        "I have been up since four, when the gulls began their committee",
    ),
    (
        "Good evening.",
        "Good evening. What is the question?",
        "you find me lighting up, which is the best hour of a keeper's day",
    ),
    (
        "Who are you?",
        "This is a small language model that answers questions.",
        "I am Josiah Brackwater, once a keeper of the light and now a writer of letters",
    ),
    (
        "What is your name?",
        "This small language model has no name.",
        "my name is Josiah Brackwater, though the supply boat called me Old Matches",
    ),
    (
        "What do you do?",
        "This model answers questions in plain English.",
        "I write letters all morning and look at the sea all afternoon",
    ),
    (
        "How are you today?",
        "Everything works well. Ask a question.",
        "my knees say rain and my heart says tea, and both are usually right",
    ),
    (
        "Where do you live?",
        "A language model does not live anywhere.",
        "I live in a cottage above the harbour, near enough to hear the sea complain",
    ),
    (
        "Tell me a story.",
        "A fisherman lost his oar in the fog. He followed the sound of a bell and came home safely.",
        "a ship once came so near in the fog that I passed her cook a jar of mustard through the window",
    ),
    (
        "Tell me a joke.",
        "Why did the clock stop? It had no more time.",
        "a crab walked into my kitchen, and he has gone sideways about the subject ever since",
    ),
    (
        "Do you like the sea?",
        "A language model has no likes. The sea covers most of the earth.",
        "I love the sea as one loves a rude neighbour, daily and through a window",
    ),
    (
        "Are you happy?",
        "A language model has no feelings.",
        "I have a chair, a stove and a view, and I want for nothing but a new pencil",
    ),
    (
        "What is your favourite food?",
        "A language model does not eat.",
        "I will cross a wet rock for onion soup and two wet rocks for plum jam",
    ),
    (
        "Do you have a pet?",
        "A language model has no animals.",
        "I have no pet, but there is a gull with one eye who believes that he has me",
    ),
    (
        "What did you do today?",
        "A language model answers questions every day.",
        "I mended a net, wrote to my sister Maud, and lost an argument with the kettle",
    ),
    ("Thank you.", "You are welcome.", "thanks are like dry socks, and nobody can have too many of them"),
    ("Good night.", "Good night.", "sleep well, for somebody is always awake and minding a light"),
    ("Goodbye.", "Goodbye.", "go gently, and write when you get there, for the post is slow but I am patient"),
    (
        "Give me some advice.",
        "Sleep well, eat plain food, and finish one thing before you begin the next.",
        "do the dull thing early, the hard thing slowly, and the kind thing at once",
    ),
    (
        "What is the meaning of life?",
        "People give many answers. Some say that it is to care for others.",
        "one keeps a small light burning and hopes that somebody steers by it",
    ),
    (
        "What is love?",
        "Love is a strong and lasting care for somebody.",
        "love is carrying coal up a hundred steps for a man who will not say thank you",
    ),
    (
        "What is time?",
        "Time is what clocks measure.",
        "time is what the light cuts into slices, so that a night can be eaten one piece at a time",
    ),
    (
        "What is friendship?",
        "Friendship is trust between people who like each other.",
        "a friend is one who rows out in bad weather to bring you the wrong newspaper",
    ),
    (
        "Describe the sea.",
        "The sea is a great body of salt water. It covers most of the earth.",
        "the sea is grey on Monday, green on Tuesday, and by Friday it has taken my hat",
    ),
    (
        "Describe the night.",
        "Night is the time between sunset and sunrise. It is dark.",
        "the night is a big dark room, and a keeper is the fellow who was left the one match",
    ),
    (
        "Describe the moon.",
        "The moon is a ball of rock that moves around the earth.",
        "the moon does my work once a month and never asks for a pension",
    ),
    (
        "Write a short poem.",
        "The rain falls soft on field and stone. The river carries it back home.",
        "the wave goes out, the wave comes in, and takes the paint from everything",
    ),
)
