// A call through the relay, commanded by the client that drachtio applications use, in the words that they use.
//
//     node call.js udp|tcp|ws HOST PORT CALLER CALLEE
//
// HOST and PORT are the relay's NG, CALLER and CALLEE the parties' media, each as 192.0.2.10:4000, by the relay's interfaces
// pbx1 and gateway.
//
// When the call is up, prints the replies so far as one line of JSON and waits for a line on standard input. Then ends the
// call and prints the further replies as a second line. Exit status 1, with the reason on standard error, when a reply is
// not as it should be, or after ten seconds.
'use strict';

const assert = require('node:assert/strict');
const fs = require('node:fs');
const readline = require('node:readline');

// The client tells on standard output what it has received. That place is taken.
console.log = console.error;

const ID = 'drachtio-1@test';
const TAGS = {'call-id': ID, 'from-tag': 'caller', 'to-tag': 'callee'};

let doing = 'starting';

function fail(error) {
  fs.writeSync(2, `while ${doing}: ${error.stack ?? error}\n`);
  process.exit(1);
}

process.on('uncaughtException', fail);
process.on('unhandledRejection', fail);
setTimeout(() => fail('ten seconds are over'), 10_000);

let library;
try {
  library = require('rtpengine-client');
} catch (error) {
  fail(`${error.message}\ncargo xtask setup installs it`);
}

// The three clients have different constructors, and only that of UDP wants to be told with each command whom to send it to.
function connect(transport, host, port) {
  const timeout = 3000;
  switch (transport) {
    case 'udp': {
      const client = new library.Client({timeout});
      return [client, (command, options) => client[command]({host, port}, options)];
    }
    case 'tcp': {
      const client = new library.TcpClient({hostport: `${host}:${port}`, timeout});
      return [client, (command, options) => client[command](options)];
    }
    case 'ws': {
      const client = new library.WsClient({url: `ws://${host}:${port}`, timeout});
      return [client, (command, options) => client[command](options)];
    }
    default:
      return fail(`no transport is called ${transport}`);
  }
}

function sdp(party, name, attributes) {
  const [address, port] = party.split(':');
  const lines = [
    'v=0', `o=${name} 1 1 IN IP4 ${address}`, 's=Gespräch', `c=IN IP4 ${address}`, 't=0 0',
    `m=audio ${port} RTP/AVP 8`, 'a=rtpmap:8 PCMA/8000', 'a=sendrecv', ...attributes,
  ];
  return lines.map((line) => `${line}\r\n`).join('');
}

// What the applications of jambonz send with every offer and answer, and some that no relay knows.
const OPTIONS = {
  'transport protocol': 'RTP/AVP',
  'DTLS': 'off',
  'SDES': 'off',
  'ICE': 'remove',
  'replace': ['origin', 'session-connection', 'favourite colour'],
  'flags': ['trust address', 'strict source', 'port latching', 'inject DTMF', 'generate mid', 'SDES-no', 'no such flag'],
  'record call': 'no',
  'metadata': '{"leg":"caller"}',
  'TOS': 184,
  'DTMF-colour': 'blue',
  'no such key': {list: ['a', {b: 1}], number: -7, empty: ''},
};

// The description in a reply: the relay's address instead of the party's, and all else as it was.
function relayed(reply, party, name) {
  assert.equal(reply.result, 'ok', JSON.stringify(reply));
  assert.equal(typeof reply.sdp, 'string');
  const [address, port] = party.split(':');
  assert.ok(!reply.sdp.includes(address), `the party's address is still there: ${reply.sdp}`);
  assert.ok(reply.sdp.startsWith(`v=0\r\no=${name} 1 1 IN IP4 `), reply.sdp);
  assert.ok(reply.sdp.includes('\r\ns=Gespräch\r\n'), reply.sdp);
  assert.match(reply.sdp, /\r\na=rtpmap:8 PCMA\/8000\r\na=sendrecv\r\n/);
  const media = /\r\nm=audio (\d+) RTP\/AVP 8\r\n/.exec(reply.sdp);
  assert.ok(media !== null && media[1] !== port && media[1] % 2 === 0, reply.sdp);
  assert.ok(!/a=(ice-|candidate)/.test(reply.sdp), reply.sdp);
  return reply;
}

function isStatus(reply) {
  assert.equal(reply.result, 'ok', JSON.stringify(reply));
  for (const kind of ['RTP', 'RTCP']) {
    for (const count of ['packets', 'bytes', 'errors']) {
      assert.ok(Number.isInteger(reply.totals[kind][count]), JSON.stringify(reply.totals));
    }
  }
  for (const tag of ['caller', 'callee']) {
    const [media] = reply.tags[tag].medias;
    assert.equal(media.type, 'audio');
    assert.deepEqual(media.streams.map((stream) => stream.flags[0]), ['RTP', 'RTCP']);
  }
  return reply;
}

async function main() {
  const [transport, host, port, caller, callee] = process.argv.slice(2);
  assert.ok(callee, 'usage: node call.js udp|tcp|ws HOST PORT CALLER CALLEE');
  const lines = readline.createInterface({input: process.stdin});
  const goOn = new Promise((resolve, reject) => {
    lines.once('line', resolve);
    lines.once('close', () => reject(new Error('standard input has ended')));
  });
  // It may end before anybody waits for it.
  goOn.catch(() => {});

  const [client, send] = connect(transport, host, Number(port));
  client.on('error', fail);
  client.on('end', () => fail('the relay has closed the connection'));
  doing = `connecting by ${transport}`;
  await new Promise((resolve) => client.once('listening', resolve));

  const request = (command, options) => {
    doing = `waiting for the reply to ${command}`;
    return send(command, options);
  };

  const ping = await request('ping');
  assert.deepEqual(ping, {result: 'pong'});

  const ice = ['a=ice-ufrag:abcd', 'a=ice-pwd:0123456789012345678901', 'a=rtcp-mux'];
  const offer = relayed(await request('offer', {
    ...OPTIONS, 'call-id': ID, 'from-tag': 'caller', 'direction': ['pbx1', 'gateway'], 'rtcp-mux': ['demux'],
    'sdp': sdp(caller, 'caller', ice),
  }), caller, 'caller');
  assert.ok(!offer.sdp.includes('a=rtcp-mux'), offer.sdp);

  const answer = relayed(await request('answer', {
    ...OPTIONS, ...TAGS, 'sdp': sdp(callee, 'callee', []),
  }), callee, 'callee');
  assert.ok(answer.sdp.includes('\r\na=rtcp-mux\r\n'), answer.sdp);

  // Two at once, told apart by their cookies. The client for TCP drops the second of two replies that come together.
  const pair = [() => request('query', {'call-id': ID}), () => request('list', {limit: 10})];
  const [query, list] = transport === 'tcp'
    ? [await pair[0](), await pair[1]()]
    : await Promise.all(pair.map((start) => start()));
  isStatus(query);
  assert.deepEqual(list, {result: 'ok', calls: [ID]});

  fs.writeSync(1, `${JSON.stringify({ping, offer, answer, query, list})}\n`);
  doing = 'waiting for a line on standard input';
  await goOn;

  const last = isStatus(await request('query', {...TAGS}));
  const deleted = isStatus(await request('delete', {...TAGS, 'delete delay': 0}));
  const unknown = await request('query', {...TAGS});
  assert.deepEqual(unknown, {'result': 'error', 'error-reason': 'Unknown call-id'});
  const again = await request('delete', {...TAGS});
  assert.equal(again.result, 'ok');
  assert.match(again.warning, /^Call-ID not found or tags didn't match$/);
  const none = await request('list');
  assert.deepEqual(none, {result: 'ok', calls: []});
  // Whether the relay has this command or not: there is no such call any more.
  const block = await request('blockMedia', {...TAGS});
  assert.equal(block.result, 'error', JSON.stringify(block));

  doing = 'closing the connection';
  if (transport === 'ws') {
    const closed = new Promise((resolve) => client.socket.once('close', resolve));
    client.close();
    const code = await closed;
    assert.ok(code === 1000 || code === 1005, `the relay did not take leave (code ${code})`);
  } else {
    client.close();
  }
  fs.writeSync(1, `${JSON.stringify({query: last, delete: deleted, unknown, again, none, block})}\n`);
  // The client for WebSockets would connect again.
  process.exit(0);
}

main().catch(fail);
