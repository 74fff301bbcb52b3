"""The demo database: a supply chain over two years (2024 and 2025), generated, so that it may be shipped.

A purchase order goes to one supplier for one warehouse, has one to six parts, and travels in one or two
shipments. A shipment is late when `delivered_date > promised_date`; `delivered_date` is null until it
arrives. Names of firms, parts, sites and carriers come from word parts; countries and cities are real.
"""

import os
import random
import sqlite3
import tempfile
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

FIRST_DAY, LAST_DAY = date(2024, 1, 1), date(2025, 12, 31)
SUPPLIERS, PARTS, WAREHOUSES, ORDERS = 140, 420, 24, 2600

_DDL = """\
CREATE TABLE suppliers (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    country TEXT NOT NULL,
    city TEXT NOT NULL,
    rating REAL NOT NULL,
    lead_time_days INTEGER NOT NULL,
    onboarded_date TEXT NOT NULL
);
CREATE TABLE parts (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    category TEXT NOT NULL,
    color TEXT,
    unit_price REAL NOT NULL,
    weight_kg REAL NOT NULL
);
CREATE TABLE supplier_parts (
    supplier_id INTEGER NOT NULL REFERENCES suppliers (id),
    part_id INTEGER NOT NULL REFERENCES parts (id),
    unit_cost REAL NOT NULL,
    min_quantity INTEGER NOT NULL,
    PRIMARY KEY (supplier_id, part_id)
);
CREATE TABLE warehouses (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    city TEXT NOT NULL,
    country TEXT NOT NULL,
    capacity INTEGER NOT NULL
);
CREATE TABLE inventory (
    warehouse_id INTEGER NOT NULL REFERENCES warehouses (id),
    part_id INTEGER NOT NULL REFERENCES parts (id),
    quantity INTEGER NOT NULL,
    reorder_level INTEGER NOT NULL,
    PRIMARY KEY (warehouse_id, part_id)
);
CREATE TABLE orders (
    id INTEGER PRIMARY KEY,
    supplier_id INTEGER NOT NULL REFERENCES suppliers (id),
    warehouse_id INTEGER NOT NULL REFERENCES warehouses (id),
    order_date TEXT NOT NULL,
    status TEXT NOT NULL
);
CREATE TABLE order_items (
    order_id INTEGER NOT NULL REFERENCES orders (id),
    part_id INTEGER NOT NULL REFERENCES parts (id),
    quantity INTEGER NOT NULL,
    unit_price REAL NOT NULL,
    PRIMARY KEY (order_id, part_id)
);
CREATE TABLE shipments (
    id INTEGER PRIMARY KEY,
    order_id INTEGER NOT NULL REFERENCES orders (id),
    supplier_id INTEGER NOT NULL REFERENCES suppliers (id),
    warehouse_id INTEGER NOT NULL REFERENCES warehouses (id),
    carrier TEXT NOT NULL,
    shipped_date TEXT NOT NULL,
    promised_date TEXT NOT NULL,
    delivered_date TEXT,
    status TEXT NOT NULL
);
CREATE INDEX supplier_parts_part ON supplier_parts (part_id);
CREATE INDEX inventory_part ON inventory (part_id);
CREATE INDEX orders_supplier ON orders (supplier_id);
CREATE INDEX orders_warehouse ON orders (warehouse_id);
CREATE INDEX orders_date ON orders (order_date);
CREATE INDEX order_items_part ON order_items (part_id);
CREATE INDEX shipments_order ON shipments (order_id);
CREATE INDEX shipments_supplier ON shipments (supplier_id);
CREATE INDEX shipments_warehouse ON shipments (warehouse_id);
CREATE INDEX shipments_shipped ON shipments (shipped_date);
"""


def _words(text: str) -> list[str]:
    return text.split()


_CITIES = {
    "Germany": ("Hamburg", "Stuttgart", "Leipzig"),
    "France": ("Lyon", "Lille", "Nantes"),
    "Italy": ("Turin", "Bologna", "Brescia"),
    "Spain": ("Bilbao", "Valencia", "Zaragoza"),
    "Poland": ("Wroclaw", "Poznan", "Gdansk"),
    "Sweden": ("Gothenburg", "Malmo", "Uppsala"),
    "Netherlands": ("Rotterdam", "Eindhoven", "Utrecht"),
    "Belgium": ("Antwerp", "Ghent", "Liege"),
    "Austria": ("Linz", "Graz", "Salzburg"),
    "Portugal": ("Porto", "Braga", "Coimbra"),
    "Turkey": ("Izmir", "Bursa", "Konya"),
    "India": ("Pune", "Chennai", "Surat"),
    "China": ("Ningbo", "Suzhou", "Wuhan"),
    "Japan": ("Nagoya", "Osaka", "Fukuoka"),
    "South Korea": ("Busan", "Daegu", "Ulsan"),
    "Vietnam": ("Hanoi", "Da Nang", "Haiphong"),
    "Mexico": ("Monterrey", "Puebla", "Tijuana"),
    "Brazil": ("Curitiba", "Campinas", "Joinville"),
    "Canada": ("Hamilton", "Calgary", "Winnipeg"),
    "United States": ("Cleveland", "Houston", "Detroit"),
    "Kenya": ("Nairobi", "Mombasa", "Nakuru"),
    "Morocco": ("Tangier", "Casablanca", "Fes"),
    "Norway": ("Bergen", "Stavanger", "Drammen"),
    "Czechia": ("Brno", "Ostrava", "Pilsen"),
}
_NOUNS = {  # category: what its parts are called, typical price, typical weight in kg
    "fasteners": (("Bolt", "Screw", "Rivet", "Washer", "Clamp"), 1.2, 0.05),
    "bearings": (("Ball Bearing", "Roller", "Bushing", "Thrust Ring"), 18.0, 0.6),
    "valves": (("Gate Valve", "Check Valve", "Relief Valve", "Spool"), 42.0, 1.8),
    "electronics": (("Sensor", "Relay", "Controller", "Encoder", "Switch"), 65.0, 0.3),
    "hydraulics": (("Cylinder", "Pump Head", "Hose", "Manifold"), 120.0, 6.0),
    "gaskets": (("Gasket", "O-Ring", "Seal Kit", "Lip Seal"), 3.5, 0.08),
    "motors": (("Servo", "Stepper", "Gear Motor", "Rotor"), 240.0, 9.5),
    "cables": (("Harness", "Patch Lead", "Ribbon Cable", "Coil Cord"), 9.0, 0.4),
    "castings": (("Housing", "Bracket", "Flange", "Base Plate"), 34.0, 4.2),
    "filters": (("Air Filter", "Strainer", "Cartridge", "Mesh Screen"), 14.0, 0.7),
    "packaging": (("Crate", "Liner", "Pallet Wrap", "Foam Insert"), 6.0, 1.1),
    "lubricants": (("Grease", "Gear Oil", "Cutting Fluid", "Spindle Oil"), 22.0, 2.5),
}
_MATERIALS = _words("Steel Brass Nylon Copper Carbon Titan Zinc Ceramic Alloy Rubber Cobalt Chrome")
_COLORS = _words("black silver red blue green yellow white orange grey")
_CARRIER_KINDS = _words("Freight Express Lines Cargo Haulage")
_FIRM_KINDS = _words("Metals Components Industries Supply Works Trading Tools Plastics Systems Foundry")
_ONSETS = _words(
    "Bar Bel Cor Dal Dren Fal Gor Hal Jor Kel Kor Lan Mar Mir Nor Pel Quin Ros Sel Tar Tor Val Ver"
)
_MIDDLES = ["", "a", "e", "i", "o", "an", "el", "en", "ar", "or"]
_ENDINGS = _words("vik dane tron mex lund dor beck tex vale mond ric tis lo nix gard ston via ram")
_SITE_STARTS = _words("Red Stone Oak Mill Crow Ash Wolf Elm Fern Grey Long Hawk Moor Salt Thorn West")
_SITE_ENDS = _words("gate field ford wick ham bridge mere croft ridge port")
_SITE_KINDS = _words("Depot Hub Yard Store")


def demo_schema_ddl() -> str:
    """The demo database's CREATE statements, eight tables and their indexes."""
    return _DDL


def build_demo_database(path: str | Path, seed: int = 0) -> Path:
    """Write the demo database to `path`, the same for the same seed; an older file is replaced at the end."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, draft_name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    os.close(handle)
    draft = Path(draft_name)
    try:
        connection = sqlite3.connect(draft)
        try:
            connection.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;" + _DDL)
            with connection:
                for table, rows in _rows(random.Random(seed)).items():
                    marks = ", ".join("?" * len(rows[0]))
                    connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)
            connection.execute("ANALYZE")
            connection.commit()
        finally:
            connection.close()
        draft.chmod(0o644)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return path


def _rows(rng: random.Random) -> dict[str, list[tuple]]:
    suppliers, parts, warehouses = _suppliers(rng), _parts(rng), _warehouses(rng)
    offers = _offers(rng, suppliers, parts)
    orders, items, shipments = _orders(rng, suppliers, warehouses, offers)
    return {
        "suppliers": suppliers,
        "parts": parts,
        "supplier_parts": sorted(offers),
        "warehouses": warehouses,
        "inventory": _inventory(rng, warehouses, parts),
        "orders": orders,
        "order_items": items,
        "shipments": shipments,
    }


def _distinct(rng: random.Random, count: int, *pieces: Sequence[str]) -> list[str]:
    """`count` different strings, each one piece of every list, in drawing order."""
    found: dict[str, None] = {}
    while len(found) < count:
        found["".join(rng.choice(piece) for piece in pieces)] = None
    return list(found)


def _suppliers(rng: random.Random) -> list[tuple]:
    firms = _distinct(rng, SUPPLIERS, _ONSETS, _MIDDLES, _ENDINGS)
    countries = sorted(_CITIES)
    rows = []
    for number, firm in enumerate(firms, start=1):
        country = countries[(number - 1) % len(countries)] if number <= 48 else rng.choice(countries)
        onboarded = date(2016, 1, 1) + timedelta(days=rng.randrange(3200))
        rating = round(min(5.0, max(1.0, rng.gauss(3.6, 0.8))), 1)
        city = rng.choice(_CITIES[country])
        name = f"{firm} {rng.choice(_FIRM_KINDS)}"
        rows.append((number, name, country, city, rating, rng.randint(3, 60), onboarded.isoformat()))
    return rows


def _parts(rng: random.Random) -> list[tuple]:
    named: dict[str, tuple] = {}
    while len(named) < PARTS:
        category = rng.choice(list(_NOUNS))
        nouns, price, weight = _NOUNS[category]
        name = f"{rng.choice(_MATERIALS)} {rng.choice(nouns)} {rng.choice('ABDFHKMRTX')}{rng.randint(2, 99)}"
        color = rng.choice(_COLORS) if rng.random() < 0.8 else None
        price *= rng.lognormvariate(0, 0.6)
        weight *= rng.lognormvariate(0, 0.5)
        named[name] = (category, color, round(price, 2), round(weight + 0.01, 2))
    return [(number, name, *rest) for number, (name, rest) in enumerate(named.items(), start=1)]


def _warehouses(rng: random.Random) -> list[tuple]:
    sites = _distinct(rng, WAREHOUSES, _SITE_STARTS, _SITE_ENDS)
    countries = rng.sample(sorted(_CITIES), 15)
    rows = []
    for number, site in enumerate(sites, start=1):
        country = countries[(number - 1) % len(countries)]
        name = f"{site} {rng.choice(_SITE_KINDS)}"
        city = _CITIES[country][(number - 1) // len(countries)]
        rows.append((number, name, city, country, 250 * rng.randint(8, 80)))
    return rows


def _offers(rng: random.Random, suppliers: list[tuple], parts: list[tuple]) -> list[tuple]:
    """Who sells which part at what cost; a few parts nobody sells, a few suppliers sell nothing yet."""
    sold = rng.sample(parts, PARTS - 15)
    rows = []
    for supplier in suppliers[: SUPPLIERS - 6]:
        for part in rng.sample(sold, rng.randint(4, 24)):
            cost = max(0.05, round(part[4] * rng.uniform(0.55, 0.95), 2))
            rows.append((supplier[0], part[0], cost, rng.choice((1, 5, 10, 20, 50, 100))))
    return rows


def _inventory(rng: random.Random, warehouses: list[tuple], parts: list[tuple]) -> list[tuple]:
    rows = []
    for warehouse in warehouses:
        for part in sorted(rng.sample(parts, rng.randint(60, 140))):
            level = 10 * rng.randint(2, 30)
            quantity = 0 if rng.random() < 0.05 else int(level * rng.lognormvariate(0.5, 0.8))
            rows.append((warehouse[0], part[0], quantity, level))
    return rows


def _orders(
    rng: random.Random, suppliers: list[tuple], warehouses: list[tuple], offers: list[tuple]
) -> tuple[list[tuple], list[tuple], list[tuple]]:
    catalogue: dict[int, list[tuple]] = {}
    for offer in offers:
        catalogue.setdefault(offer[0], []).append(offer)
    buying = [supplier[0] for supplier in suppliers if supplier[0] in catalogue][:-8]
    weights = [rng.lognormvariate(0, 0.8) for _ in buying]
    tardiness = {supplier: rng.betavariate(2, 6) for supplier in buying}
    carriers = [
        f"{stem} {_CARRIER_KINDS[i % len(_CARRIER_KINDS)]}"
        for i, stem in enumerate(_distinct(rng, 10, _ONSETS, _MIDDLES, _ENDINGS))
    ]
    receiving = [warehouse[0] for warehouse in warehouses[:-2]]  # two sites are too new to have ordered
    days = sorted(rng.randrange((LAST_DAY - FIRST_DAY).days + 1) for _ in range(ORDERS))
    orders: list[tuple] = []
    items: list[tuple] = []
    shipments: list[tuple] = []
    for number, day in enumerate(days, start=1):
        ordered = FIRST_DAY + timedelta(days=day)
        supplier = rng.choices(buying, weights)[0]
        warehouse = rng.choice(receiving)
        lines = rng.sample(catalogue[supplier], min(rng.randint(1, 6), len(catalogue[supplier])))
        for _, part, cost, least in sorted(lines):
            price = max(0.05, round(cost * rng.uniform(0.95, 1.1), 2))
            items.append((number, part, least * rng.randint(1, 12), price))
        if rng.random() < 0.07:
            orders.append((number, supplier, warehouse, ordered.isoformat(), "cancelled"))
            continue
        arrivals: list[date | None] = []
        for _ in range(2 if rng.random() < 0.15 else 1):
            shipped = ordered + timedelta(days=rng.randint(1, suppliers[supplier - 1][5] // 2 + 2))
            if shipped > LAST_DAY:
                break
            promised = shipped + timedelta(days=rng.randint(3, 25))
            slip = rng.randint(1, 18) if rng.random() < tardiness[supplier] else -rng.randint(0, 3)
            arrival: date | None = promised + timedelta(days=slip)
            status = "delivered"
            if rng.random() < 0.02:
                arrival, status = None, "lost"
            elif arrival is not None and arrival > LAST_DAY:
                arrival, status = None, "held at customs" if rng.random() < 0.2 else "in transit"
            elif rng.random() < 0.02:
                status = "returned"
            arrivals.append(arrival)
            delivered = arrival.isoformat() if arrival else None
            dates = (shipped.isoformat(), promised.isoformat(), delivered)
            carrier = rng.choice(carriers)
            shipments.append((len(shipments) + 1, number, supplier, warehouse, carrier, *dates, status))
        state = "pending" if not arrivals else "received" if all(arrivals) else "shipped"
        orders.append((number, supplier, warehouse, ordered.isoformat(), state))
    return orders, items, shipments
