"""Title generation and data to text."""

from demo.suite_text.suite_task import SuiteTask

TASKS = (
    SuiteTask(
        916,
        "notice_title",
        "Title Generation",
        "Abstractive Reasoning",
        "News",
        "Write a short title for the notice. Take the words of the title from the notice.",
        """
The pool in Mill Lane opens again in May. Swimmers get free tea.
=> Pool opens again || Pool in Mill Lane opens again in May
A brown dog was lost near the church. Call Ann. => Lost dog || Brown dog lost near the church
""",
        ("News", "The title does not say what the notice is about."),
        """
The town library is closed for two weeks. Workers put in new windows.
=> Library closed for two weeks || Town library closed
A black cat was found behind the school. The owner can call the office.
=> Black cat found || Black cat found behind the school
Free concert in the park on Saturday. Bring your own chairs.
=> Free concert in the park || Free concert on Saturday
The bakery on Hill Street looks for a driver. The work begins at four in the morning.
=> Bakery looks for a driver || Driver wanted
New swimming course for children. It begins in April and costs nothing.
=> Swimming course for children || New swimming course
The old bridge is closed to trucks. Cars may still use it.
=> Old bridge closed to trucks || Bridge closed to trucks
A gold ring was lost at the market. There is a reward of fifty dollars.
=> Gold ring lost || Gold ring lost at the market
The school needs used computers. Bring them to room nine.
=> School needs used computers || Used computers needed
There is no water on Tuesday morning. Fill your pots the night before.
=> No water on Tuesday || No water on Tuesday morning
The chess club meets every Wednesday. New players are welcome.
=> Chess club meets every Wednesday || Chess club
For sale: a piano in good shape. It must be picked up. => Piano for sale || Piano in good shape for sale
The flower market moves to the main square. It opens at seven.
=> Flower market moves || Flower market moves to the main square
A bicycle was stolen in front of the bank. It is red and has a basket.
=> Bicycle stolen || Bicycle stolen in front of the bank
The bus number nine will not run on Sunday. A marathon blocks the road.
=> Bus nine will not run || No bus nine on Sunday
Volunteers clean the beach on the first of June. Gloves are handed out.
=> Volunteers clean the beach || Beach cleaning on the first of June
The doctor is on holiday until the tenth. Doctor Reed takes her patients.
=> Doctor on holiday || Doctor on holiday until the tenth
A room for a student is free from March. It is small but quiet.
=> Room for a student || Room for a student free from March
The theater shows a play for families. Children pay half.
=> Play for families || Theater shows a play for families
The elevator is out of order. It will be repaired tomorrow.
=> Elevator out of order || Elevator will be repaired tomorrow
Young rabbits to give away. They are eight weeks old. => Young rabbits to give away || Rabbits to give away
The choir looks for men with low voices. Nobody has to read notes.
=> Choir looks for men || Choir looks for low voices
The post office has new opening hours. It now closes at five.
=> New opening hours || Post office has new opening hours
A course in first aid takes place on Friday. Sign up at the desk.
=> Course in first aid || First aid course on Friday
The summer festival was moved to July. The tickets stay valid.
=> Summer festival moved || Summer festival moved to July
The playground gets a new slide. It will be ready in autumn.
=> Playground gets a new slide || New slide for the playground
The street lamps in Oak Road stay dark. A cable was cut.
=> Street lamps stay dark || Street lamps in Oak Road stay dark
""",
    ),
    SuiteTask(
        917,
        "recipe_title",
        "Title Generation",
        "Abstractive Reasoning",
        "Recipes",
        "Give the recipe a title that names the dish and its main ingredient.",
        """
Boil the peas, add cream and blend them into a soup. => Pea soup || Soup with peas
Fill the pie with berries and bake it. => Berry pie || Pie with berries
""",
        ("Food", "The title names neither dish nor ingredient."),
        """
Cook the pumpkin until soft, blend it and serve the soup with cream. => Pumpkin soup || Soup with pumpkin
Cut the cucumber thin, add oil and dill, and let the salad rest. => Cucumber salad || Salad with cucumber
Stir the mushrooms into the sauce and heat it. => Mushroom sauce || Sauce with mushrooms
Fill the cake with walnuts and bake it for an hour. => Walnut cake || Cake with walnuts
Put spinach and tomatoes on the pizza. => Spinach pizza || Pizza with spinach
Fry the omelet with herbs from the garden. => Herb omelet || Omelet with herbs
Bake the bread with olives. => Olive bread || Bread with olives
Layer the pasta with salmon and bake the lasagna. => Salmon lasagna || Lasagna with salmon
Mash the potatoes and form small dumplings. => Potato dumplings || Dumplings with potatoes
Cook the rhubarb with sugar until the jam is thick. => Rhubarb jam || Jam with rhubarb
Grill the burger and top it with onions. => Onion burger || Burger with onions
Stir raisins into the pudding before it sets. => Raisin pudding || Pudding with raisins
Cook the lentils slowly until the stew is thick. => Lentil stew || Stew with lentils
Fold blueberries into the muffins. => Blueberry muffins || Muffins with blueberries
Wrap the chicken in the tortilla. => Chicken tortilla || Tortilla with chicken
Blend a mango with ice for a cold drink. => Mango drink || Cold mango drink
Bake the tart with thin slices of pear. => Pear tart || Tart with pears
Put tuna and lettuce on the sandwich. => Tuna sandwich || Sandwich with tuna
Simmer the curry with chickpeas. => Chickpea curry || Curry with chickpeas
Roll the cookies in coconut. => Coconut cookies || Cookies with coconut
Boil the noodles and add shrimps. => Shrimp noodles || Noodles with shrimps
Mix the yogurt with strawberries. => Strawberry yogurt || Yogurt with strawberries
Serve the pancakes with maple syrup. => Pancakes with maple syrup || Maple pancakes
Cook the risotto with asparagus. => Asparagus risotto || Risotto with asparagus
Fill the peppers with beef and bake them. => Beef peppers || Peppers with beef
Cover the pie with apricots. => Apricot pie || Pie with apricots
""",
    ),
    SuiteTask(
        918,
        "event_record",
        "Data to Text",
        "Commonsense Reasoning",
        "Miscellaneous",
        "Turn the record of an event into one sentence that states all its values.",
        """
event: lecture; place: town hall; time: six => The lecture is in the town hall at six.
event: auction; place: stable; time: noon
=> The auction is in the stable at noon. || The auction takes place in the stable at noon.
""",
        ("The lecture is at six.", "The place is missing."),
        """
event: wedding; place: old chapel; time: noon => The wedding is in the old chapel at noon.
event: workshop; place: gym; time: nine => The workshop is in the gym at nine.
event: exam; place: main hall; time: eight => The exam is in the main hall at eight.
event: ballet; place: opera house; time: seven => The ballet is in the opera house at seven.
event: auction; place: gallery; time: three => The auction is in the gallery at three.
event: debate; place: senate; time: ten => The debate is in the senate at ten.
event: tasting; place: wine cellar; time: five => The tasting is in the wine cellar at five.
event: choir practice; place: church; time: six => The choir practice is in the church at six.
event: yoga class; place: community center; time: eight => The yoga class is in the community center at eight.
event: trial; place: court; time: eleven => The trial is in the court at eleven.
event: exhibition; place: castle; time: noon => The exhibition is in the castle at noon.
event: film night; place: school yard; time: nine => The film night is in the school yard at nine.
event: election; place: town hall; time: seven => The election is in the town hall at seven.
event: flea market; place: parking lot; time: six => The flea market is in the parking lot at six.
event: fashion show; place: hotel lobby; time: four => The fashion show is in the hotel lobby at four.
event: reading; place: bookshop; time: eight => The reading is in the bookshop at eight.
event: parade; place: city center; time: two => The parade is in the city center at two.
event: blood drive; place: clinic; time: ten => The blood drive is in the clinic at ten.
event: tournament; place: stadium; time: one => The tournament is in the stadium at one.
event: memorial; place: cathedral; time: eleven => The memorial is in the cathedral at eleven.
event: job fair; place: university; time: nine => The job fair is in the university at nine.
event: magic show; place: circus tent; time: five => The magic show is in the circus tent at five.
event: cooking class; place: big kitchen; time: four => The cooking class is in the big kitchen at four.
event: open day; place: fire station; time: noon => The open day is in the fire station at noon.
event: puppet show; place: nursery; time: three => The puppet show is in the nursery at three.
event: vote; place: assembly; time: midnight => The vote is in the assembly at midnight.
""",
    ),
    SuiteTask(
        919,
        "product_record",
        "Data to Text",
        "Commonsense Reasoning",
        "Commerce",
        "Describe the product in one sentence. Use its name, its material and its price.",
        """
product: vase | material: clay | price: 12 dollars => The vase is made of clay and costs 12 dollars.
product: sled | material: ash | price: 55 dollars => The sled is made of ash and costs 55 dollars.
""",
        ("A vase of clay.", "The price is missing."),
        """
product: desk | material: oak | price: 90 dollars => The desk is made of oak and costs 90 dollars.
product: necklace | material: silver | price: 45 dollars
=> The necklace is made of silver and costs 45 dollars.
product: teapot | material: steel | price: 30 dollars => The teapot is made of steel and costs 30 dollars.
product: cushion | material: linen | price: 15 dollars => The cushion is made of linen and costs 15 dollars.
product: toy horse | material: felt | price: 8 dollars => The toy horse is made of felt and costs 8 dollars.
product: backpack | material: canvas | price: 60 dollars
=> The backpack is made of canvas and costs 60 dollars.
product: bowl | material: bamboo | price: 11 dollars => The bowl is made of bamboo and costs 11 dollars.
product: statue | material: marble | price: 400 dollars => The statue is made of marble and costs 400 dollars.
product: raincoat | material: nylon | price: 35 dollars => The raincoat is made of nylon and costs 35 dollars.
product: fan | material: paper | price: 5 dollars => The fan is made of paper and costs 5 dollars.
product: bracelet | material: copper | price: 18 dollars
=> The bracelet is made of copper and costs 18 dollars.
product: door mat | material: straw | price: 14 dollars => The door mat is made of straw and costs 14 dollars.
product: saddle | material: leather | price: 250 dollars
=> The saddle is made of leather and costs 250 dollars.
product: flute | material: bone | price: 70 dollars => The flute is made of bone and costs 70 dollars.
product: bathtub | material: iron | price: 320 dollars => The bathtub is made of iron and costs 320 dollars.
product: puppet | material: wood | price: 20 dollars => The puppet is made of wood and costs 20 dollars.
product: scarf | material: silk | price: 28 dollars => The scarf is made of silk and costs 28 dollars.
product: bucket | material: tin | price: 9 dollars => The bucket is made of tin and costs 9 dollars.
product: chess set | material: glass | price: 65 dollars
=> The chess set is made of glass and costs 65 dollars.
product: blanket | material: wool | price: 50 dollars => The blanket is made of wool and costs 50 dollars.
product: lunch box | material: plastic | price: 7 dollars
=> The lunch box is made of plastic and costs 7 dollars.
product: door | material: pine | price: 150 dollars => The door is made of pine and costs 150 dollars.
product: medal | material: bronze | price: 16 dollars => The medal is made of bronze and costs 16 dollars.
product: pillow | material: down | price: 40 dollars => The pillow is made of down and costs 40 dollars.
product: tile | material: stone | price: 3 dollars => The tile is made of stone and costs 3 dollars.
product: jacket | material: denim | price: 75 dollars => The jacket is made of denim and costs 75 dollars.
""",
    ),
)
