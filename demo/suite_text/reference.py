"""Coreference: whom or what a pronoun stands for."""

from demo.suite_text.suite_task import SuiteTask

TASKS = (
    SuiteTask(
        905,
        "pronoun_person",
        "Coreference Resolution",
        "Commonsense Reasoning",
        "Narrative",
        "The text has two people and a question about a pronoun. Answer with the name of the person that the pronoun "
        "stands for.",
        """
Olga lent Mario a pen because he had lost his own. ~ Who is he? => Mario
Fiona met Pavel after she had left the bank. ~ Who is she? => Fiona
""",
        ("the bank", "The pronoun stands for a person."),
        """
Sofia drove Marco to the station because he had missed the bus. ~ Who is he? => Marco
Helen asked Robert whether she could borrow his ladder. ~ Who is she? => Helen
Albert waited for Judith until she came out of the shop. ~ Who is she? => Judith
Daniel promised Monica that he would feed her cat. ~ Who is he? => Daniel
When Lucia called, Stefan told her that the shop was shut. ~ Who is her? => Lucia
Edith showed George the stamp that he wanted. ~ Who is he? => George
Philip wrote to Agnes because she had won the prize. ~ Who is she? => Agnes
Teresa helped Ralph with the boxes, although she was tired. ~ Who is she? => Teresa
Anton gave Bella his seat and she thanked him. ~ Who is him? => Anton
Miriam taught Lucas to swim when he was six. ~ Who is he? => Lucas
Conrad missed Vera so much that he took the next train. ~ Who is he? => Conrad
Dora lost the keys, so Edgar waited with her. ~ Who is her? => Dora
Gustav sold Ingrid a clock that she had admired. ~ Who is she? => Ingrid
Stella found Norman in the barn, where he was asleep. ~ Who is he? => Norman
Roland paid for the meal because Ursula had left her purse. ~ Who left a purse? => Ursula
Amelia laughed when Patrick dropped his hat. ~ Whose hat is it? => Patrick
Jonas could not hear Sabine because he wore a helmet. ~ Who is he? => Jonas
Sylvia thanked Bernard for the soup that he had made. ~ Who is he? => Bernard
Ludwig followed Claudia, who did not know that she was seen. ~ Who is she? => Claudia
Before Yvonne left, Dennis gave her a map of the town. ~ Who is her? => Yvonne
Thomas read the story to Ida until she fell asleep. ~ Who is she? => Ida
Regina beat Oliver at cards, and he was angry. ~ Who is he? => Oliver
Simone trusts Gilbert because he never lies. ~ Who is he? => Gilbert
Eugene painted Martha while she played the piano. ~ Who is she? => Martha
Isabel sent Vincent a card when he was ill. ~ Who is he? => Vincent
Harold is older than Beth, but she is taller. ~ Who is she? => Beth
""",
    ),
    SuiteTask(
        906,
        "pronoun_thing",
        "Coreference Resolution",
        "Commonsense Reasoning",
        "Commonsense",
        'In the sentence, the word "it" stands for one of two things. Write that thing as one word from the '
        "sentence, without an article.",
        """
The trunk would not take the skis because it was too short. => trunk
I put the kettle on the stove and soon it whistled. => kettle
""",
        ("the stove", "The answer is a single word, and a stove does not whistle."),
        """
The soup burned my tongue because it was too hot. => soup
The cup fell from the shelf and it broke. => cup
The dog chased the ball until it was tired. => dog
I cut the rope with the knife because it was sharp. => knife
The truck could not pass the bridge because it was too heavy. => truck
We moved the piano out of the room because it was out of tune. => piano
The candle set fire to the curtain because it was burning. => candle
The boat hit the rock and it began to sink. => boat
She poured water from the jug into the glass until it was empty. => jug
The sweater does not go into the drawer because it is too thick. => sweater
The hen left the nest after it had laid an egg. => hen
The lamp stood by the sofa, and it gave a soft light. => lamp
He took the cake out of the oven when it was brown. => cake
The key did not fit the lock because it was bent. => key
The bee flew to the flower because it wanted nectar. => bee
I wiped the table with a sponge because it was sticky. => table
The train left the station when it was full of people. => train
The nail went through the board because it was long. => nail
The horse jumped over the fence, and it landed well. => horse
The cheese fell off the plate and the mouse ate it. => cheese
The tent kept us dry in the storm because it had a good roof. => tent
The letter lay in the drawer for years until somebody read it. => letter
The baby held the bottle until it was fast asleep. => baby
The kite got stuck in the tree when it came down. => kite
The bus waited for the tram because it was late. => tram
The owl watched the field because it was hungry. => owl
""",
    ),
)
