"""Grammar error correction and question rewriting."""

from demo.suite_text.suite_task import SuiteTask

TASKS = (
    SuiteTask(
        912,
        "verb_agreement",
        "Grammar Error Correction",
        "Grammatical Reasoning",
        "Miscellaneous",
        "The verb of the sentence does not agree with its subject. Write the sentence correctly.",
        """
The trains is late today. => The trains are late today.
He have two sons. => He has two sons.
""",
        ("The trains was late today.", "The verb still does not agree, and the tense was changed."),
        """
The children is playing in the yard. => The children are playing in the yard.
She walk to work every morning. => She walks to work every morning.
My parents lives in the north. => My parents live in the north.
The soup taste very good. => The soup tastes very good.
They was at the station on time. => They were at the station on time.
One of the lamps are broken. => One of the lamps is broken.
The dogs barks all night. => The dogs bark all night.
It rain a lot in November. => It rains a lot in November.
The news are bad today. => The news is bad today.
I has no time for this. => I have no time for this.
The boys runs down the hill. => The boys run down the hill.
Everybody know the answer. => Everybody knows the answer.
The flowers needs water. => The flowers need water.
Our teacher speak three languages. => Our teacher speaks three languages.
There is many people in the square. => There are many people in the square.
The shop close at six. => The shop closes at six.
We was very happy about the gift. => We were very happy about the gift.
The scissors is in the drawer. => The scissors are in the drawer.
He do not like cold water. => He does not like cold water.
The birds flies south in autumn. => The birds fly south in autumn.
This apple taste sour. => This apple tastes sour.
You was right about the weather. => You were right about the weather.
The twins looks alike. => The twins look alike.
Each room have a small balcony. => Each room has a small balcony.
The stars shines above the sea. => The stars shine above the sea.
My brother want a new bicycle. => My brother wants a new bicycle.
""",
    ),
    SuiteTask(
        913,
        "doubled_word",
        "Grammar Error Correction",
        "Grammatical Reasoning",
        "Miscellaneous",
        "By mistake, one word of the sentence was written twice. Correct the sentence.",
        """
The the door was open. => The door was open.
I saw her her yesterday. => I saw her yesterday.
""",
        ("The door open.", "More than the doubled word was left out."),
        """
We met at at the corner of the street. => We met at the corner of the street.
The old man man sat on a bench. => The old man sat on a bench.
She sings in the the choir. => She sings in the choir.
Nobody wants to to wait in the rain. => Nobody wants to wait in the rain.
A large large ship entered the port. => A large ship entered the port.
The guests came came late. => The guests came late.
My hands are are cold. => My hands are cold.
He he never drinks coffee. => He never drinks coffee.
The concert begins in in an hour. => The concert begins in an hour.
This chair is is broken. => This chair is broken.
Please close the window window before you leave. => Please close the window before you leave.
They painted painted the fence white. => They painted the fence white.
I bought a pair of of shoes. => I bought a pair of shoes.
The train train from the north was full. => The train from the north was full.
Her Her letter made me smile. => Her letter made me smile.
We ate soup and and fresh bread. => We ate soup and fresh bread.
The cat sleeps on on my bed. => The cat sleeps on my bed.
Our garden garden is small but sunny. => Our garden is small but sunny.
You can can swim in this lake. => You can swim in this lake.
It was a long long walk to the village. => It was a long walk to the village.
The bell rings rings at eight. => The bell rings at eight.
Two boys carried carried the heavy box. => Two boys carried the heavy box.
The moon was behind a a cloud. => The moon was behind a cloud.
Many birds birds live in this wood. => Many birds live in this wood.
I forgot my my umbrella on the bus. => I forgot my umbrella on the bus.
The judge read the the long report. => The judge read the long report.
""",
    ),
    SuiteTask(
        914,
        "fluent_question",
        "Question Rewriting",
        "Commonsense Reasoning",
        "Dialogue",
        "Somebody asks a question and changes one word while speaking. Write the question that is meant, without "
        "the slip.",
        """
Where is the bank, no, the post office? => Where is the post office?
Who wrote, I mean, who painted this? => Who painted this?
""",
        ("Where is the bank?", "The speaker took the bank back."),
        """
When does the bus, no, the train leave? => When does the train leave?
How old is your sister, I mean, your brother? => How old is your brother?
Where did you buy the red, no, the green jacket? => Where did you buy the green jacket?
What is the price of the tea, sorry, the coffee? => What is the price of the coffee?
Who lives on the first, no, the second floor? => Who lives on the second floor?
Can I pay by check, I mean, by card? => Can I pay by card?
Is the shop open on Sunday, no, on Monday? => Is the shop open on Monday?
How far is it to the harbor, sorry, to the airport? => How far is it to the airport?
Did Peter, no, did Paul call today? => Did Paul call today?
Which key opens the cellar, I mean, the attic? => Which key opens the attic?
What time is breakfast, no, lunch? => What time is lunch?
Why is the cat, sorry, the dog so wet? => Why is the dog so wet?
Where can I rent a car, no, a bicycle? => Where can I rent a bicycle?
How many eggs, I mean, how many apples do we need? => How many apples do we need?
Who won the race, no, the match? => Who won the match?
Is your uncle a doctor, sorry, a dentist? => Is your uncle a dentist?
When will the rain, I mean, the snow stop? => When will the snow stop?
Does the soup have garlic, no, onions in it? => Does the soup have onions in it?
Where are my gloves, sorry, my glasses? => Where are my glasses?
Could you open the door, no, the window? => Could you open the window?
What did you eat, I mean, what did you drink? => What did you drink?
How deep is the river, no, the lake? => How deep is the lake?
Who teaches history, sorry, geography? => Who teaches geography?
Is the museum on the left, no, on the right? => Is the museum on the right?
When were you in Spain, I mean, in Greece? => When were you in Greece?
Which bus goes to the zoo, no, to the stadium? => Which bus goes to the stadium?
""",
    ),
    SuiteTask(
        915,
        "direct_question",
        "Question Rewriting",
        "Commonsense Reasoning",
        "Dialogue",
        "The speaker hides a question in a polite sentence. Rewrite it as a short direct question.",
        """
I would like to know where the exit is. => Where is the exit?
Tell me who broke the vase. => Who broke the vase?
""",
        ("The exit is there.", "This is an answer, not a question."),
        """
I would like to know where the station is. => Where is the station?
Tell me what the time is. => What is the time?
I wonder who wrote this book. => Who wrote this book?
Please tell me why the bus is late. => Why is the bus late?
I want to know how much the ticket is. => How much is the ticket?
I wonder where my keys are. => Where are my keys?
Tell me who the new neighbor is. => Who is the new neighbor?
I would like to know when the concert is. => When is the concert?
Please tell me what is in the jar. => What is in the jar?
I wonder why the baby is awake. => Why is the baby awake?
Tell me which train goes to the coast. => Which train goes to the coast?
I want to know who called this morning. => Who called this morning?
I would like to know how old the castle is. => How old is the castle?
Please tell me where the old mill is. => Where is the old mill?
I wonder what this word means. => What does this word mean?
Tell me how the story ends. => How does the story end?
I want to know where the museum is. => Where is the museum?
I would like to know what your name is. => What is your name?
Please tell me who won the game. => Who won the game?
I wonder when the shop opens. => When does the shop open?
Tell me why the door is locked. => Why is the door locked?
I want to know which of these is fresh. => Which of these is fresh?
I would like to know who is in charge. => Who is in charge?
Please tell me how far the lake is. => How far is the lake?
I wonder what the special offer is. => What is the special offer?
Tell me where the children are. => Where are the children?
""",
    ),
)
