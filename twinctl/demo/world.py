"""The small world that the demo's texts are about: what there is, and what is true of it.

Every line is one thing and its facts, written so that they fit the sentences of `phrases.py` as they stand: a verb as
the infinitive or the third person, a noun with its article. A sentence made from any line must read as English.
"""

from __future__ import annotations

# kind: (names of the fields, one thing a line). The first field is the thing's name.
TABLES: dict[str, tuple[str, str]] = {
    "tool": (
        "n use made tip",
        """
hammer | drive nails into wood | a steel head and an ash handle | hold the handle near its end
saw | cut planks to length | a toothed steel blade and a wooden grip | let the teeth do the work
chisel | cut neat joints in wood | a short steel blade and a round handle | keep both hands behind the edge
plane | shave a board smooth | a wooden block and a sharp iron | follow the grain of the board
spade | turn over heavy soil | an iron blade and a long handle | push it down with your boot
rake | gather fallen leaves | a row of iron teeth and a long pole | pull it gently towards you
axe | split logs for the fire | a heavy iron head and a curved handle | stand with your feet apart
needle | sew cloth together | a thin piece of steel with an eye | use a short thread
ladder | reach high places | two long rails and many rungs | set its feet on level ground
broom | sweep a floor clean | a bundle of stiff straw and a stick | sweep towards the door
brush | paint doors and window frames | soft bristles and a wooden handle | wash it before the paint dries
compass | find the way north | a brass case and a small magnet | keep it away from iron
telescope | look at distant ships | a brass tube and two lenses | rest it on something steady
bucket | carry water from the well | thin metal and a wire handle | leave a hand of room at the top
net | catch fish near the shore | strong cord tied in small knots | dry it before you fold it
anvil | shape hot iron | one great block of steel | strike in the middle of it
trowel | spread mortar between bricks | a flat steel blade and a short handle | keep the blade wet
pulley | lift heavy loads with a rope | a grooved wheel in a strong frame | oil the wheel often
""",
    ),
    "animal": (
        "n lives eats habit",
        """
otter | in rivers and along quiet shores | fish and small crabs | sleeps floating on its back
fox | at the edge of the woods | mice, berries and beetles | hunts at dusk
owl | in old barns and hollow trees | mice and voles | flies without a sound
hedgehog | under hedges and piles of leaves | worms and beetles | rolls into a ball when it is afraid
badger | in deep tunnels under the hill | roots, worms and fallen fruit | cleans its bed on dry nights
seal | on rocks beside the sea | fish and squid | sings to its young
heron | beside ponds and slow rivers | fish and frogs | stands still for an hour
goat | on steep and stony hills | grass, leaves and thistles | climbs better than any boy
donkey | in dry fields and small stables | hay and straw | remembers every road it has walked
bee | in hives and hollow trees | nectar and pollen | dances to show the way to flowers
crab | under stones by the sea | weed, shells and scraps | walks sideways
mouse | behind walls and under floors | grain, cheese and crumbs | gnaws whatever it finds
cat | in warm houses and quiet yards | fish, mice and milk | washes its face after every meal
dog | in kennels and on farms | meat, bones and biscuits | follows its friends everywhere
horse | in green fields and stables | grass, oats and apples | sleeps on its feet
duck | on ponds and village streams | seeds, snails and water plants | leads its young in a line
frog | near ponds and in wet grass | flies and slugs | sings on warm evenings
bat | in caves and church towers | moths and other insects | finds its way by listening
swallow | under the roofs of barns | flies and gnats | leaves for the south in autumn
whale | in the deep and open sea | small fish and shrimps | breathes through the top of its head
""",
    ),
    "food": (
        "n of how time",
        """
bread | flour, water, yeast and salt | knead the dough and bake it until it is brown | half a day
porridge | oats, milk and a pinch of salt | stir the oats slowly over a low fire | ten minutes
onion soup | onions, butter and good stock | brown the onions and add the stock | an hour
apple pie | apples, sugar and a butter crust | fill the crust and bake it until it is gold | an hour and a half
fish stew | white fish, potatoes and leeks | simmer the roots first and add the fish last | forty minutes
batter pudding | eggs, milk and flour | pour the batter into a hot pan | twenty minutes
plum jam | plums and sugar | boil the fruit until it sets on a cold plate | two hours
cheese | milk, salt and rennet | press the curd and leave it in a cool room | many weeks
mustard | mustard seed, vinegar and honey | grind the seed and stir it with the rest | a day
barley broth | barley, carrots and mutton | let everything boil softly together | three hours
shortbread | flour, butter and sugar | roll the dough thin and bake it quickly | half an hour
buttered egg | eggs, butter and herbs | shake the pan until the eggs are softly set | five minutes
red beet pickle | beets, vinegar and cloves | cover the cooked beets with hot vinegar | a week
toffee | sugar, butter and a spoon of syrup | boil the sugar and pour it on a cold tray | half an hour
mushroom tart | mushrooms, cream and pastry | cook the mushrooms before you fill the tart | an hour
rice pudding | rice, milk and nutmeg | bake it slowly in a deep dish | two hours
lemon cake | lemons, eggs, flour and sugar | beat the eggs well and bake the cake gently | an hour
suet pudding | flour, suet and water | tie it in a cloth and boil it | twenty minutes
smoked herring | herring, salt and oak smoke | salt the fish and hang it over a slow fire | two days
tea | dry leaves and boiling water | warm the pot and let the leaves stand | four minutes
""",
    ),
    "trade": (
        "n does with at",
        """
baker | makes bread and cakes | an oven and a long wooden shovel | in a warm shop on the corner
blacksmith | shapes iron and shoes horses | a hammer, an anvil and a fire | in a forge at the crossroads
carpenter | builds doors, tables and stairs | a saw, a plane and a chisel | in a workshop full of shavings
fisherman | catches herring and mackerel | a small boat and many nets | out in the bay
miller | grinds grain into flour | two round stones and a great wheel | in a mill beside the stream
shepherd | looks after sheep and lambs | a crook and a clever dog | on the high pastures
potter | makes bowls and jugs from clay | a turning wheel and a hot kiln | in a shed behind the house
weaver | makes cloth from thread | a loom and a shuttle | in a bright upstairs room
tailor | sews coats and trousers | scissors, chalk and thread | at a table by the window
cobbler | mends boots and shoes | an awl, wax and strong thread | in a small shop near the bridge
gardener | grows flowers and vegetables | a spade, a rake and a can | behind the garden wall
beekeeper | keeps bees and gathers honey | a veil and a little smoke | in the orchard
clockmaker | repairs clocks and watches | tiny screwdrivers and a lens | in a quiet room full of ticking
sailor | steers and mends a ship | ropes, sails and a compass | on the open sea
teacher | shows children how to read and count | books, chalk and patience | in the village school
nurse | cares for people who are ill | clean bandages and a kind voice | in the hospital on the hill
printer | makes books and newspapers | ink, paper and lead type | in a noisy house near the square
mason | builds walls from stone | a trowel, a line and mortar | wherever a house is going up
cooper | makes barrels from oak | iron hoops and a curved knife | in a yard near the harbour
postman | carries letters from door to door | a leather bag and a bicycle | on every road of the town
""",
    ),
    "weather": (
        "n is when do",
        """
fog | a cloud that lies on the ground | when mild air cools over cold water | walk slowly and carry a light
rain | water that falls from the clouds | when damp air rises and cools | wear a coat and keep your feet dry
snow | ice that falls in soft flakes | when the air is cold and damp | clear the path before it freezes
hail | ice that falls in hard little balls | when strong winds carry drops very high | stay under a roof until it stops
thunder | the sound that lightning makes | when lightning heats the air at once | count the seconds and stay indoors
frost | thin ice on grass and glass | when a clear night is very cold | cover the young plants
wind | air that moves from place to place | when warm air rises and cold air takes its room | tie down whatever is loose
a storm | strong wind with heavy rain | when warm and cold air meet | close the shutters and stay at home
a rainbow | sunlight parted into colours | when the sun shines on falling rain | look with your back to the sun
dew | small drops of water on the grass | when the ground cools at night | wear boots in the early morning
a heat wave | many hot days in a row | when still, dry air stays over the land | drink water and rest at noon
drought | a long time without rain | when the rain clouds pass far away | save water and shade the garden
sleet | rain mixed with melting snow | when the air is just above freezing | take care on the steps
mist | a thin and gentle kind of fog | when the evening air is still and damp | wait until the sun is up
""",
    ),
    "place": (
        "n is see go",
        """
harbour | a sheltered water where boats lie safely | fishing boats, ropes and gulls | early in the morning
market | an open square where people buy and sell | stalls of fruit, cloth and cheese | before noon
library | a house where books are lent | long shelves and quiet readers | on a wet afternoon
mill | a building where grain is ground | a great wheel and sacks of flour | when the stream is high
forest | a wide land covered with trees | oaks, ferns and shy deer | in autumn
beach | a flat shore of sand or stones | shells, weed and small crabs | at low water
castle | a strong old house of stone | thick walls and a tall tower | on a clear day
island | a piece of land with water all around | cliffs, birds and a few sheep | in the calm summer months
orchard | a garden of fruit trees | apples, pears and busy bees | at harvest time
bridge | a road that crosses a river | boats below and carts above | at sunset
lighthouse | a tower that warns ships with its light | a great lamp and a winding stair | when the nights are long
farm | a piece of land where food is grown | cows, hens and fields of barley | in spring
station | a place where trains stop | engines, porters and a large clock | a little before your train
museum | a house where old things are kept | coins, maps and bones | on a quiet weekday
marsh | low land that is always wet | reeds, herons and wild ducks | in rubber boots and in good light
cave | a hollow place inside a hill | bats, dripping water and pale stone | with a lamp and a friend
""",
    ),
    "plant": (
        "n looks grows care",
        """
rose | red or white flowers and sharp thorns | in sunny gardens | cut the old wood in early spring
oak | rough bark and wavy leaves | in deep and heavy soil | give it plenty of room
fern | long green leaves like feathers | in damp and shady woods | keep its roots moist
thistle | purple heads and prickly leaves | in dry fields | wear gloves when you pull it
lavender | grey leaves and sweet blue flowers | on dry and sunny banks | trim it after it has flowered
potato | white flowers above and round roots below | in loose, dark soil | heap earth around the stem
cabbage | big round leaves in a tight head | in rich and cool ground | keep the caterpillars away
apple tree | pink blossom and low branches | in orchards and old gardens | prune it in winter
ivy | shiny dark leaves and long stems | on walls and old trees | cut it back every year
daisy | white petals around a yellow heart | in every meadow | let it grow as it likes
willow | thin leaves on hanging branches | beside rivers and ponds | plant it far from the house
mint | soft green leaves with a fresh smell | in damp corners of the garden | keep it in a pot
tomato | yellow flowers and round red fruit | against a warm wall | tie the stem to a stick
heather | tiny purple flowers on wiry stems | on windy moors | leave it in poor soil
bean | long green pods and curling stems | up poles in the kitchen garden | pick the pods while they are young
nettle | jagged leaves covered with stinging hairs | behind barns and near ditches | give it a corner of its own
""",
    ),
    "thing": (
        "n use kept care",
        """
kettle | boil water | on the stove | empty it every evening
clock | tell the time | on the wall | wind it once a week
candle | give a little light | in a dry drawer | trim the wick before you light it
umbrella | keep off the rain | beside the door | open it to dry
blanket | keep warm at night | in a wooden chest | air it in the sun
mirror | see your own face | above the basin | wipe it with a dry cloth
teapot | make tea | on the kitchen shelf | rinse it with hot water
lantern | light the way in the dark | on a hook in the porch | clean its glass with paper
basket | carry bread and eggs | under the table | keep it away from damp
pillow | rest your head | on the bed | shake it every morning
chair | sit at the table | beside the fire | tighten its joints once a year
key | open a locked door | on a nail by the stairs | put it back in the same place
pencil | write and draw | in a box on the desk | sharpen it with a small knife
barometer | judge the coming weather | in the hall | tap its glass gently
carpet | make a cold floor warm | in the best room | beat it on a dry day
frying pan | cook eggs and fish | above the stove | rub it with oil
map | find the right road | in a long drawer | fold it along the old lines
oil lamp | light a room | on the window sill | wash the chimney and cut the wick
rope | tie a boat to the shore | in a coil on the floor | dry it before you put it away
""",
    ),
    "material": (
        "n from used is",
        """
wool | the backs of sheep | warm coats and blankets | soft and warm
oak wood | the trunks of oak trees | ships, doors and barrels | hard and heavy
iron | red stone that is melted in a furnace | tools, gates and nails | strong but quick to rust
glass | sand that is melted with ash | windows and bottles | clear but easily broken
leather | the skins of cattle | boots, belts and saddles | tough and supple
paper | wood or rags beaten to a pulp | books and letters | light and cheap
clay | the banks of rivers | bricks, bowls and pipes | soft until it is fired
wax | the combs of bees | candles and polish | smooth and easily melted
linen | the stems of flax | sheets and summer shirts | cool and lasting
brass | copper and zinc melted together | bells, lamps and instruments | bright and yellow
straw | the dry stems of wheat | hats, roofs and beds for horses | light and dry
salt | sea water that is left to dry | keeping fish and meat | white and sharp to the taste
cork | the bark of a southern oak | stoppers and floats | light enough to swim
slate | quarries in the hills | roofs and school boards | grey and easily split
""",
    ),
    "task": (
        "n one two three",
        """
light a fire | lay dry twigs over crumpled paper | light the paper from below | add larger sticks one at a time
sharpen a knife | wet a flat stone | draw the blade along it at a low angle | wipe the edge with a cloth
tie a knot | cross the two ends of the rope | pass one end under the other | pull both ends tight
plant a tree | dig a wide hole | spread the roots in it | fill it with earth and water it well
clean a window | mix a little vinegar with warm water | wipe the glass from top to bottom | dry it with old newspaper
write a letter | begin with a friendly greeting | tell your news in plain words | end with your name
mend a sock | stretch the hole over a wooden egg | weave thread across it both ways | cut off the loose end
row a boat | sit with your back to the bow | dip both oars together | pull with your whole body
catch a fish | put a worm on the hook | let the line sink near the weeds | wait without a sound
paint a door | rub the old paint smooth | put on one thin coat | add a second coat the next day
wash a wool coat | fill a tub with cool water | press the coat with mild soap | dry it flat in the shade
fold a map | open it fully on a table | find the oldest creases | fold it along them one by one
climb a hill | choose the winding path | walk at an even pace | rest before you are tired
train a dog | use short and simple words | reward it at once | practise a little every day
make a paper boat | fold a sheet in half | fold the corners to the middle | pull the sides apart
dry herbs | cut them on a dry morning | tie them in small bunches | hang them in an airy room
keep a diary | choose the same hour every day | write down three small things | put the date at the top
polish shoes | brush off the mud | rub in a little wax | shine them with a soft cloth
read a map | turn it to face north | find where you are standing | follow the road with your finger
build a wall | dig a straight trench | lay the largest stones first | fill the gaps with small ones
""",
    ),
    "trouble": (
        "n one two",
        """
I cannot sleep | get up and drink something warm | leave tomorrow's worries on a piece of paper
I am lonely | write to an old friend | take a walk where other people walk
I have lost my keys | look in the pockets of your coat | go back over your last steps
my roof is leaking | put a bucket under the drip | ask a roofer to look at the tiles
I have a cold | stay in bed and drink plenty of tea | keep warm until the fever is gone
my bread does not rise | use fresh yeast and warm water | give the dough more time
my garden is full of weeds | pull them out after the rain | cover the soil with straw
I am always late | set your clock ten minutes early | put your things ready the night before
my friend is angry with me | say that you are sorry | listen without a word until the end
I am afraid of the dark | keep a small lamp near the bed | learn the names of the night sounds
my tea is too bitter | take the leaves out sooner | add a spoon of honey
the door squeaks | put a drop of oil on the hinge | open and close it a few times
I am bored | learn a song or a new knot | tidy one drawer from top to bottom
I have too much work | do the smallest job first | ask somebody to share the rest
my boots are wet | fill them with old newspaper | let them dry away from the fire
I cannot decide | write down what each choice would cost | wait one night before you choose
I have burnt the soup | pour it into a clean pot without scraping | add a raw potato and some cream
my candle smokes | cut the wick shorter | move the candle out of the draught
""",
    ),
    "music": (
        "n by sound made",
        """
flute | blowing across a small hole | clear and high | wood or silver
violin | drawing a bow over four strings | sweet and singing | spruce and maple
drum | striking a tight skin | deep and steady | wood and calfskin
piano | pressing black and white keys | full and rich | iron, felt and wood
trumpet | buzzing the lips into a cup | bright and loud | a long tube of brass
harp | plucking many strings | soft and rippling | a tall frame of maple
fiddle | bowing quickly for dancers | lively and rough | old pine
bell | swinging it on a wheel | round and far-reaching | bronze
accordion | squeezing a bellows between the hands | merry and breathy | reeds and folded card
whistle | blowing gently and moving the fingers | thin and cheerful | tin
guitar | plucking six strings | warm and gentle | cedar and rosewood
organ | pressing keys that let air into pipes | grand and solemn | hundreds of metal pipes
""",
    ),
    "town": (
        "n lies known people",
        """
Marrowby | in a green valley beside the river Ash | its cheese and its stone bridge | farmers and weavers
Saltmere | on a flat and windy coast | its smoked fish and salt pans | fishermen and coopers
Highfold | in the northern hills | its wool and its long winters | shepherds and masons
Penny Cross | where two old roads meet | its horse market | blacksmiths and innkeepers
Dunlow | at the edge of the great forest | its oak furniture | carpenters and charcoal burners
Wexwater | around a deep blue lake | its rowing boats and its summer fair | boat builders and gardeners
Tarn Hill | under a bare grey mountain | its slate roofs and clear air | quarrymen and teachers
Brackley Sands | on a wide bay in the south | its beach and its brass band | sailors and shopkeepers
Ottering | along a slow brown river | its mills and its honey cakes | millers and bakers
Castle Fen | in the middle of the marshes | its old tower and its eels | reed cutters and potters
""",
    ),
}

# Kinds, and single names, that take no article.
UNCOUNTED = {"food", "weather", "material", "task", "trouble", "town", "lavender", "ivy", "mint", "heather"}


def things(kind: str) -> list[dict[str, str]]:
    """All things of a kind as field → text, with `a` for the name with its article."""
    names, text = TABLES[kind]
    rows = [dict(zip(names.split(), line.split(" | "), strict=True)) for line in text.strip().splitlines()]
    return [{**row, "a": with_article(kind, row["n"])} for row in rows]


def with_article(kind: str, name: str) -> str:
    """The name as a sentence uses it: "an otter", "fog"."""
    if kind in UNCOUNTED or name in UNCOUNTED:
        return name
    return ("an " if name[0] in "aeiou" else "a ") + name
