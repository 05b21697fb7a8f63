'use strict';
// What others make of keys and bundles: Sigstore's own JavaScript and TweetNaCl. For tests only.
//
//   node sigstore.js seal KEY PASSWORD N [BLOCK]   a PEM key encrypted in cosign's form
//   node sigstore.js open KEY PASSWORD             the PKCS#8 PEM in it
//   node sigstore.js sign KEY SHA256 TYPE          a bundle: a statement of TYPE about the digest
//   node sigstore.js verify BUNDLE PUB             prints the statement of a bundle that holds

const crypto = require('crypto');
const fs = require('fs');
const nacl = require('tweetnacl');
const { bundleFromJSON, bundleToJSON, toDSSEBundle } = require('@sigstore/bundle');
const core = require('@sigstore/core');
const { Verifier, toSignedEntity } = require('@sigstore/verify');

const IN_TOTO = 'application/vnd.in-toto+json';
const base64 = (bytes) => Buffer.from(bytes).toString('base64');

function boxKey(password, salt, { N, r, p }) {
  return crypto.scryptSync(password, salt, 32, { N, r, p, maxmem: 256 * N * r });
}

function toPem(name, bytes) {
  return `-----BEGIN ${name}-----\n${base64(bytes).replace(/.{1,64}/g, '$&\n')}-----END ${name}-----\n`;
}

function fromPem(text) {
  return Buffer.from(text.replace(/-----[^-]+-----/g, ''), 'base64');
}

function seal(file, password, cost, block = 'ENCRYPTED SIGSTORE PRIVATE KEY') {
  const der = crypto.createPrivateKey(fs.readFileSync(file)).export({ type: 'pkcs8', format: 'der' });
  const params = { N: Number(cost), r: 8, p: 1 };
  const salt = crypto.randomBytes(32);
  const nonce = crypto.randomBytes(nacl.secretbox.nonceLength);
  const box = nacl.secretbox(der, nonce, boxKey(password, salt, params));
  return toPem(block, JSON.stringify({
    kdf: { name: 'scrypt', params, salt: base64(salt) },
    cipher: { name: 'nacl/secretbox', nonce: base64(nonce) },
    ciphertext: base64(box),
  }));
}

function open(file, password) {
  const { kdf, cipher, ciphertext } = JSON.parse(fromPem(fs.readFileSync(file, 'utf8')));
  const key = boxKey(password, Buffer.from(kdf.salt, 'base64'), kdf.params);
  const der = nacl.secretbox.open(Buffer.from(ciphertext, 'base64'), Buffer.from(cipher.nonce, 'base64'), key);
  if (der === null) throw new Error('the box does not open');
  return crypto.createPrivateKey({ key: Buffer.from(der), format: 'der', type: 'pkcs8' })
    .export({ type: 'pkcs8', format: 'pem' });
}

function sign(file, sha256, predicateType) {
  const key = crypto.createPrivateKey(fs.readFileSync(file));
  const artifact = Buffer.from(JSON.stringify({
    _type: 'https://in-toto.io/Statement/v1',
    subject: [{ digest: { sha256 }, annotations: { note: 'by another program' } }],
    predicateType,
    predicate: {},
  }));
  const signature = crypto.sign('sha256', core.dsse.preAuthEncoding(IN_TOTO, artifact), key);
  const der = crypto.createPublicKey(key).export({ type: 'spki', format: 'der' });
  const keyHint = crypto.createHash('sha256').update(der).digest('base64');
  return JSON.stringify(bundleToJSON(toDSSEBundle({ artifact, artifactType: IN_TOTO, signature, keyHint })));
}

function verify(file, publicFile) {
  const publicKey = crypto.createPublicKey(fs.readFileSync(publicFile));
  const bundle = bundleFromJSON(JSON.parse(fs.readFileSync(file, 'utf8')));
  const trust = {
    certificateAuthorities: [], ctlogs: [], tlogs: [], timestampAuthorities: [],
    publicKey: () => ({ publicKey, validFor: () => true }),
  };
  new Verifier(trust, { tlogThreshold: 0, ctlogThreshold: 0, tsaThreshold: 0 })
    .verify(toSignedEntity(bundle));
  return bundle.content.dsseEnvelope.payload.toString() + '\n';
}

const [verb, ...words] = process.argv.slice(2);
process.stdout.write({ seal, open, sign, verify }[verb](...words));
