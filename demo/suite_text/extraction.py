"""Keyword tagging and overlap extraction."""

from demo.suite_text.suite_task import SuiteTask

TASKS = (
    SuiteTask(
        909,
        "plant_tag",
        "Keyword Tagging",
        "Reasoning on Extraction",
        "Nature",
        "Every sentence speaks of one plant. Tag the sentence with the name of this plant, as one word from the "
        "sentence.",
        """
Bees love the lavender along our path. => lavender
She made a wreath of ivy. => ivy
""",
        ("bees", "Bees are animals, not plants."),
        """
The old oak in front of the church is three hundred years old. => oak
We planted a row of tulips along the wall. => tulips
A cactus hardly needs any water. => cactus
He leaned his bicycle against a birch. => birch
The roses smell best after a shower. => roses
Sheep rest in the shade of the willow. => willow
My aunt grows basil on the balcony. => basil
There is moss on the north side of the roof. => moss
The wind bent the tall bamboo. => bamboo
Nobody has cut the hedge of holly this year. => holly
The children blew the seeds off a dandelion. => dandelion
In autumn the maple turns red. => maple
The farmer sows his wheat in October. => wheat
Daisies cover the whole slope behind the school. => daisies
The monk collects mint for his tea. => mint
A fern grows between the stones of the well. => fern
Her hair was full of thistles after the walk. => thistles
The furniture is made of solid walnut. => walnut
Panda bears would not touch clover. => clover
He gave his wife an orchid for the anniversary. => orchid
The path leads through a dark stand of pines. => pines
Nettles burned my legs near the ditch. => nettles
The sunflowers follow the light all day. => sunflowers
The cook cut the parsley very fine. => parsley
Their cabin is built from cedar. => cedar
The lilies on the pond opened this morning. => lilies
""",
    ),
    SuiteTask(
        910,
        "main_topic",
        "Keyword Tagging",
        "Reasoning on Extraction",
        "Miscellaneous",
        "Give the single word from the text that best says what the text is about.",
        """
Honey keeps for years. People even found honey in old tombs. => honey
The violin is small. A violin has four strings. => violin
""",
        ("years", "The text is not about years."),
        """
Volcanoes bring hot rock to the surface. Some volcanoes sleep for centuries. => volcanoes
A compass shows the north. Sailors trusted the compass long before radio. => compass
Glaciers move slowly. When glaciers melt, they leave lakes behind. => glaciers
Chess is played by two people. Chess came to Europe from the east. => chess
An octopus has three hearts. When it is afraid, the octopus changes color. => octopus
Cork floats on water. Most cork comes from Portugal. => cork
The violinist tunes first. Without a violinist there is no quartet. => violinist
Salt melts ice. In winter, trucks spread salt on the roads. => salt
Bats sleep in the day. At night, bats hunt insects. => bats
A lighthouse warns ships. This lighthouse has stood here since 1850. => lighthouse
Yeast makes dough rise. Without yeast, bread stays flat. => yeast
Penguins cannot fly. In the water, penguins are very quick. => penguins
Rubber comes from a tree. Tires are mostly rubber. => rubber
The subway opened in 1904. Every day, the subway carries a million people. => subway
Coral looks like a plant. In truth, coral is built by tiny animals. => coral
Stamps were first sold in England. Many people collect stamps. => stamps
A comet has a bright tail. This comet returns every 76 years. => comet
Garlic keeps well in a dry place. Many sauces begin with garlic. => garlic
The marathon is a long race. A marathon takes most runners four hours. => marathon
Silk is thin but strong. For centuries, silk was traded along one great road. => silk
Owls turn their heads very far. Most owls hunt after dark. => owls
Chalk is a soft rock. Teachers used chalk in every classroom. => chalk
A dam holds back a river. The dam above our valley makes power. => dam
Cinnamon is the bark of a tree. Bakers like cinnamon in buns. => cinnamon
Windmills once ground corn. Today windmills make electric power. => windmills
Whales breathe air. That is why whales come up so often. => whales
""",
    ),
    SuiteTask(
        911,
        "shared_word",
        "Overlap Extraction",
        "Textual Comparison",
        "Miscellaneous",
        "Two sentences have one important word in common. Write the word that both sentences share. Small words "
        "such as the or in do not count.",
        """
Sentence 1: The jury wants a break. ~ Sentence 2: Nobody on the jury spoke. => jury
Sentence 1: We fixed the sink. ~ Sentence 2: Dishes pile up in the sink. => sink
""",
        ("the", "This is one of the small words that do not count."),
        """
Sentence 1: The mayor opened the fair. ~ Sentence 2: Reporters followed the mayor. => mayor
Sentence 1: A crack runs down the wall. ~ Sentence 2: Water came through the crack. => crack
Sentence 1: Her speech moved many people. ~ Sentence 2: He wrote the speech in one night. => speech
Sentence 1: The pilot saw the runway late. ~ Sentence 2: Snow covered the runway. => runway
Sentence 1: Our budget is very small. ~ Sentence 2: They voted on a new budget. => budget
Sentence 1: The surgeon washed her hands. ~ Sentence 2: Ask the surgeon about the risk. => surgeon
Sentence 1: He keeps a diary. ~ Sentence 2: The diary lay open on my desk. => diary
Sentence 1: Fog hid the coast. ~ Sentence 2: We sailed along the coast. => coast
Sentence 1: The tenant pays on time. ~ Sentence 2: A tenant may keep one pet. => tenant
Sentence 1: Put the flour in first. ~ Sentence 2: Mice ate our flour. => flour
Sentence 1: My laptop needs a new screen. ~ Sentence 2: The screen stayed black. => screen
Sentence 1: The factory makes shoes. ~ Sentence 2: Smoke rose over the factory. => factory
Sentence 1: I signed the contract. ~ Sentence 2: This contract ends in March. => contract
Sentence 1: Their canoe turned over. ~ Sentence 2: We need paddles for the canoe. => canoe
Sentence 1: The bishop blessed the crowd. ~ Sentence 2: A crowd waited outside. => crowd
Sentence 1: A spider sat in the tent. ~ Sentence 2: We slept in one tent. => tent
Sentence 1: The recipe is from my aunt. ~ Sentence 2: Follow each step of the recipe. => recipe
Sentence 1: Dust gathers in the attic. ~ Sentence 2: Old toys fill our attic. => attic
Sentence 1: The goalkeeper hurt his knee. ~ Sentence 2: Ice will help your knee. => knee
Sentence 1: She bakes for the festival. ~ Sentence 2: This festival lasts a week. => festival
Sentence 1: The ferry leaves at dawn. ~ Sentence 2: Cars drive onto the ferry. => ferry
Sentence 1: A thief stole the statue. ~ Sentence 2: Pigeons sit on that statue. => statue
Sentence 1: The witness was afraid. ~ Sentence 2: Police protect every witness. => witness
Sentence 1: His cough got worse. ~ Sentence 2: Tea is good for a cough. => cough
Sentence 1: The puzzle has many pieces. ~ Sentence 2: Finish your puzzle later. => puzzle
Sentence 1: Lightning struck the barn twice. ~ Sentence 2: Nobody painted our barn. => barn
""",
    ),
)
