"""Word lists of the invented world. All names, places and firms are made up or generic."""

from __future__ import annotations


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


FEMALE_NAMES = _words(
    "Ada Alma Bella Bianca Carla Celia Clara Dora Edith Elena Elsa Emma Fiona Flora Greta Hanna Helga Irene Iris "
    "Jana Julia Laura Lena Linda Lucia Marta Mira Nadia Nora Olga Paula Petra Rita Rosa Sara Selma Sonia Stella "
    "Tilda Ursula Vera Viola Wanda Yara Zelda Zora"
)
MALE_NAMES = _words(
    "Adam Alan Anton Aron Bruno Carl Cyril David Denis Edgar Emil Erik Felix Frank Georg Hans Henry Hugo Ivan "
    "Jacob James Jonas Karl Kevin Leon Louis Lucas Marco Martin Max Nils Noah Oscar Otto Owen Paul Peter Ralf "
    "Robert Simon Stefan Theo Thomas Tobias Victor Walter"
)
MIDDLE_NAMES = _words(
    "Amber Ash Aspen Autumn Bay Birch Blue Brook Cedar Clay Cloud Coral Dale Dawn Dune Ember Fern Flint Frost "
    "Glen Gold Grey Grove Hazel Heath Holly Ivy Jade Jasper June Lake Lark Laurel Leaf Lily Lynx Maple Marsh May "
    "Mist Moon Moss North Oak Ocean Onyx Opal Pearl Pine Rain Raven Reed Ridge River Robin Rose Rowan Ruby Rush "
    "Sage Silver Sky Slate Snow Sol Star Stone Storm Summer Swan Vale West Willow Winter Wolf Wren"
)
LAST_NAMES = _words(
    "Abbott Adler Archer Ashby Bailey Baker Barlow Barton Becker Benson Bishop Blake Bolton Bowen Brandt Brewer "
    "Brooks Burke Butler Calder Carver Chandler Clarke Cole Conrad Cooper Crane Crosby Curtis Dalton Davis Dixon "
    "Doyle Draper Duncan Eaton Ellis Evans Farmer Fisher Fletcher Foster Fowler Garner Gibson Glover Graves "
    "Griffin Hale Hardy Harper Hayes Holmes Hooper Hudson Hunter Ingram Jarvis Jensen Jordan Keller Kemp Knight "
    "Lambert Lawson Lloyd Mason Mercer Miller Morgan Murphy Nash Newman Norton Osborn Palmer Parker Pierce Porter "
    "Potter Quinn Ramsey Reeves Ritter Rogers Sawyer Shaw Sutton Tanner Taylor Thorne Tucker Turner Vance Wagner "
    "Walker Warner Weaver Webb Wheeler Yates"
)
MONTHS = _words("January February March April May June July August September October November December")
WEEKDAYS = _words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
CITIES = _words(
    "Alderon Belvane Corvina Dunmore Eastrill Falmora Galdova Harrowby Ilmen Jorvala Kestrel Lorenza Marwick "
    "Novara Orsova Pellham Quarny Ravello Stanmore Tervola Umbria Valdana Westerby Yarrow Zemlin Brackley "
    "Cresthill Drayford Elmstead Fenwick Glenrock Holmgard"
)
UNIVERSITIES = tuple(
    f"{stem} {kind}"
    for stem, kind in zip(
        _words(
            "Aldine Bexley Castell Durnham Everett Farrow Gresham Hartwell Imbert Kelvin Lachlan Merton Northgate "
            "Oberlin Pemberton Quillan Radcliff Selwyn Trinity Upland Vassar Wexford Yorke Zurbaran"
        ),
        ("University", "College", "Institute") * 8,
        strict=True,
    )
)
FIELDS = _words(
    "physics chemistry biology geology algebra geometry history law medicine music painting sculpture economics "
    "philosophy astronomy botany zoology linguistics architecture engineering sociology theology forestry nursing"
)
EMPLOYERS = tuple(
    f"{stem} {kind}"
    for stem, kind in zip(
        _words(
            "Apex Borealis Cobalt Delphi Equinox Fathom Granite Helix Indigo Juniper Kinetic Lumen Meridian "
            "Nimbus Orbit Pinnacle Quasar Rubicon Solaris Tundra Vertex Wayfare Xenon Zephyr"
        ),
        ("Labs", "Motors", "Foods", "Media") * 6,
        strict=True,
    )
)
HOBBIES = _words(
    "chess tennis rowing fencing archery cycling sailing skating climbing juggling knitting pottery gardening "
    "fishing hiking boxing golf rugby hockey poker yoga dancing baking origami"
)
THINGS = _words(
    "lamp coin book rope knife spoon clock mirror hammer candle basket pillow bottle ladder pencil ribbon button "
    "whistle kettle marble needle shovel violin trumpet"
)
COLOURS = _words("red green yellow black white brown purple orange pink golden")
LANDSCAPES = _words("hills coast valley forest desert plain islands mountains")
LETTERS = tuple("abcdefghijklmnopqrstuvwxyz")
