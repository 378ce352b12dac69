#!/usr/bin/env python3
"""The JSON Schema of a machine's document against the reader of documents: both take the same.

usage: config-schema.py DOPPEL DOCUMENT_VERDICTS     Prints TAP.

The schema is judged by the validator below, which knows the words that schema_make uses and refuses others, and by
python3-jsonschema as well where that is installed.
"""
import json
import re
import subprocess
import sys

try:
    import jsonschema
except ImportError:
    jsonschema = None

DRAFT = 'https://json-schema.org/draft/2020-12/schema'


def is_type(value, name):
    if name == 'integer':
        return isinstance(value, int) and not isinstance(value, bool)
    kinds = {'string': str, 'boolean': bool, 'array': list, 'object': dict}
    return isinstance(value, kinds[name])


def same(a, b):
    return a == b and isinstance(a, bool) == isinstance(b, bool)


def check_object(value, schema):
    if not isinstance(value, dict):
        return True
    properties = schema.get('properties', {})
    if any(key not in value for key in schema.get('required', [])):
        return False
    if schema.get('additionalProperties') is False and any(key not in properties for key in value):
        return False
    return all(is_valid(value[key], properties[key]) for key in value if key in properties)


def check_number(value, schema):
    if not is_type(value, 'integer') and not isinstance(value, float):
        return True
    return (schema.get('minimum', value) <= value <= schema.get('maximum', value)
            and value % schema.get('multipleOf', 1) == 0)


def is_valid(value, schema):
    known = {'$schema', 'title', 'description', 'default', 'type', 'enum', 'pattern', 'minLength', 'minimum', 'maximum',
             'multipleOf', 'anyOf', 'required', 'properties', 'additionalProperties', 'items'}
    unknown = set(schema) - known
    if unknown:
        raise ValueError(f'the schema has words that this test does not know: {unknown}')
    if 'type' in schema and not is_type(value, schema['type']):
        return False
    if 'enum' in schema and not any(same(value, word) for word in schema['enum']):
        return False
    if isinstance(value, str):
        if 'pattern' in schema and not re.search(schema['pattern'], value):
            return False
        if len(value) < schema.get('minLength', 0):
            return False
    if isinstance(value, list) and 'items' in schema and not all(is_valid(v, schema['items']) for v in value):
        return False
    if 'anyOf' in schema and not any(is_valid(value, one) for one in schema['anyOf']):
        return False
    return check_object(value, schema) and check_number(value, schema)


# What both take (True) or refuse; {"image": "x"} goes without saying.
CASES = [
    ({}, True),
    ({'memory': '2G'}, True), ({'memory': '512MiB'}, True), ({'memory': 536870912}, True), ({'memory': '536870912'}, True),
    ({'memory': 1}, False), ({'memory': 16777217}, False), ({'memory': '2X'}, False), ({'memory': '-2G'}, False),
    ({'memory': 2.5}, False), ({'memory': '1.5G'}, False), ({'memory': ['2G']}, False), ({'memory': None}, False),
    ({'cpus': 1}, True), ({'cpus': 64}, True), ({'cpus': 0}, False), ({'cpus': 65}, False), ({'cpus': '4'}, False),
    ({'cpus': -1}, False), ({'cpus': True}, False), ({'cpus': 1.5}, False),
    ({'name': 'web-1.a_b'}, True), ({'name': 'a' * 63}, True), ({'name': 'a' * 64}, False), ({'name': '.a'}, False),
    ({'name': ''}, False), ({'name': 'a/b'}, False), ({'name': 5}, False),
    ({'rng': 'auto'}, True), ({'rng': True}, True), ({'rng': 'on'}, True), ({'rng': 'yes'}, False), ({'rng': 1}, False),
    ({'console-device': 'virtio'}, True), ({'console-device': True}, False),
    ({'cpu-quota': '40%'}, True), ({'cpu-quota': 40}, True), ({'cpu-quota': '40'}, True), ({'cpu-quota': 0}, False),
    ({'cpu-quota': '40 %'}, False),
    ({'append': 'quiet'}, True), ({'append': ['a', '']}, True), ({'append': []}, True), ({'append': [1]}, False),
    ({'append': [['a']]}, False), ({'append': {}}, False),
    ({'disks': 'a.raw'}, True), ({'disks': [{'file': 'a'}, 'b,ro']}, True), ({'disks': {'file': 'a', 'ro': False}}, True),
    ({'disks': {'file': 'a', 'overlay': True}}, True), ({'disks': {'file': 'a', 'overlay': 'b'}}, True),
    ({'disks': {'file': 'a', 'overlay': ''}}, False), ({'disks': {'file': 'a', 'ro': 'yes'}}, False),
    ({'disks': {'ro': True}}, False), ({'disks': {'file': ''}}, False), ({'disks': ''}, False), ({'disks': [[]]}, False),
    ({'disks': {'file': 'a', 'fiel': 'b'}}, False), ({'disks': {'file': 'a', 'format': 'qcow2'}}, True),
    ({'disks': {'file': 'a', 'format': 'vmdk'}}, False), ({'disks': {'file': 'a', 'iops': 0}}, False),
    ({'disks': {'file': 'a', 'iops': 1000000000, 'bps': '1M'}}, True), ({'disks': {'file': 'a', 'iops': '5'}}, False),
    ({'nets': {'kind': 'user'}}, True), ({'nets': [{'kind': 'tap', 'name': 'tap0'}]}, True), ({'nets': {}}, False),
    ({'nets': {'kind': 'bridge'}}, False), ({'nets': {'kind': 'user', 'mac': '52:54:00:12:34:56'}}, True),
    ({'nets': {'kind': 'user', 'mac': '53:54:00:12:34:56'}}, False), ({'nets': {'kind': 'user', 'mac': 5}}, False),
    ({'nets': {'kind': 'user', 'mac': '52:54:00:12:34'}}, False), ({'nets': {'kind': 'user', 'rate': 999}}, False),
    ({'publish': '8080:80'}, True), ({'publish': [{'host': 0, 'guest': 53, 'protocol': 'udp', 'address': '::1'}]}, True),
    ({'publish': {'host': 80}}, False), ({'publish': {'host': 80, 'guest': 0}}, False), ({'publish': 80}, False),
    ({'publish': {'host': 80, 'guest': 65536}}, False), ({'publish': {'host': 1, 'guest': 1, 'address': 'x y'}}, False),
    ({'shares': {'folder': '/a', 'tag': 't', 'ro': True}}, True), ({'shares': {'tag': 't'}}, False),
    ({'channels': {'name': 'a', 'socket': '/s'}}, True), ({'channels': {'name': '', 'socket': '/s'}}, False),
    ({'vsock': {'folder': '/v', 'cid': 3}}, True), ({'vsock': {'folder': '/v', 'cid': 2}}, False), ({'vsock': []}, False),
    ({'kernel': 'k'}, True), ({'kernel': ''}, False), ({'kernel': ['k']}, False),
    ({'virtio-without': 'packed'}, True), ({'virtio-without': ['packed', 'in-order']}, True),
    ({'virtio-without': ['pakced']}, False),
    ({'transport': 'pci'}, True), ({'transport': 'isa'}, False),
    ({'timeout': '5s'}, False), ({'file': 'x'}, False), ({'disk': 'a'}, False), ({'Memory': '2G'}, False), ({'': 1}, False),
]

# Without an image.
BARE = [({}, False), ({'memory': '2G'}, False), ({'kernel': 'k'}, True), ({'firmware': 'f'}, True), ({'image': 'x'}, True),
        ({'image': ''}, False), ({'image': 5}, False), ([], False), ('x', False), (5, False)]

ODD = [None, True, False, 5, -1, 1.5, [], {}, [None], [5], {'zz': 1}]


def mapping_of(schema):
    """The schema of a form's mapping, or None."""
    if schema.get('type') == 'object':
        return schema
    return next(filter(None, map(mapping_of, schema.get('anyOf', []))), None)


def odd_documents(schema):
    """Every property, and every part of each form, with values of every kind: whatever they are, both must agree."""
    for key, row in schema['properties'].items():
        for value in ODD:
            yield {'image': 'x', key: value}
        form = mapping_of(row) or {'properties': {}}
        least = {'kind': 'user', 'file': '/a', 'folder': '/a', 'name': 'a', 'socket': '/s', 'host': 1, 'guest': 1}
        for part in form['properties']:
            for value in ODD + ['']:
                yield {'image': 'x', key: {**{k: least[k] for k in form['required']}, part: value}}


def main():
    schema = json.loads(subprocess.run([sys.argv[1], 'schema'], check=True, stdout=subprocess.PIPE).stdout)
    validators = [('the test\'s validator', lambda document: is_valid(document, schema))]
    if jsonschema:
        jsonschema.Draft202012Validator.check_schema(schema)
        strict = jsonschema.Draft202012Validator(schema)
        validators.append(('python3-jsonschema', strict.is_valid))
    cases = [({'image': 'x', **document}, taken) for document, taken in CASES] + BARE
    cases += [(document, None) for document in odd_documents(schema)]
    lines = ''.join(json.dumps(document) + '\n' for document, _ in cases)
    verdicts = subprocess.run([sys.argv[2]], input=lines, check=True, text=True, stdout=subprocess.PIPE).stdout.splitlines()
    bad = []
    if schema.get('$schema') != DRAFT or len(verdicts) != len(cases):
        bad.append(f'{len(verdicts)} verdicts on {len(cases)} documents, by {schema.get("$schema")}')
    for key, row in schema['properties'].items():
        if not row.get('description'):
            bad.append(f'{key} has no description')
    taken_count = 0
    for (document, expected), verdict in zip(cases, verdicts):
        taken = verdict == 'taken'
        taken_count += taken
        if expected is not None and taken != expected:
            bad.append(f'{json.dumps(document)}: {verdict}')
        for name, judge in validators:
            if judge(document) != taken:
                bad.append(f'{json.dumps(document)}: {verdict}; but {name} {"refuses" if taken else "takes"} it')
    for line in bad:
        print(f'# {line}')
    print('1..1')
    print(f'{"not " if bad else ""}ok 1 - {len(cases)} documents, {taken_count} of them taken: reader and schema agree, by '
          + ' and '.join(name for name, _ in validators))
    return 1 if bad else 0


sys.exit(main())
