'use strict';
// An S3 server for the registry's tests: s3rver keeps the objects, and in front of it stands what
// s3rver leaves out. Signatures (in the header and in URLs) are worked out anew by AWS' own code,
// and bytes that are not those of x-amz-content-sha256 are refused.
//
//   node server.js DIRECTORY PORT BUCKET [CERTIFICATE KEY]
//
// Keys: S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY. Logs one line a request: status, method, target.

const crypto = require('crypto');
const fs = require('fs');
const http = require('http');
const https = require('https');
const { Readable } = require('stream');
const { Sha256 } = require('@aws-crypto/sha256-js');
const { SignatureV4 } = require('@smithy/signature-v4');
const S3rver = require('s3rver');

const [directory, port, bucket, certificate, key] = process.argv.slice(2);
const credentials = {
  accessKeyId: process.env.S3_ACCESS_KEY_ID,
  secretAccessKey: process.env.S3_SECRET_ACCESS_KEY,
};
const PAYLOAD = 'x-amz-content-sha256';
const CLOCK_SKEW_MS = 15 * 60 * 1000;

// s3rver knows one key pair; who has got past the signature is it.
const S3RVER_HEADER = 'AWS4-HMAC-SHA256 Credential=S3RVER/d/r/s3/aws4_request, SignedHeaders=host, Signature=0';

class Refusal extends Error {
  constructor(status, code, message) {
    super(message);
    Object.assign(this, { status, code });
  }
}

function parseDate(text) {
  const match = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(text || '');
  if (!match) throw new Refusal(403, 'AccessDenied', 'no X-Amz-Date');
  const [, year, month, day, hour, minute, second] = match.map(Number);
  return new Date(Date.UTC(year, month - 1, day, hour, minute, second));
}

function regionOf(credential) {
  const [id, , region, service, end] = (credential || '').split('/');
  if (id !== credentials.accessKeyId)
    throw new Refusal(403, 'InvalidAccessKeyId', 'The key does not exist in our records.');
  if (service !== 's3' || end !== 'aws4_request')
    throw new Refusal(400, 'AuthorizationHeaderMalformed', 'The credential is malformed.');
  return region;
}

function signerFor(region) {
  return new SignatureV4({
    credentials, region, service: 's3', sha256: Sha256, uriEscapePath: false, applyChecksum: false,
  });
}

function sameSignature(one, other) {
  return one.length === other.length && crypto.timingSafeEqual(Buffer.from(one), Buffer.from(other));
}

async function checkHeader(request, url) {
  const match = /^AWS4-HMAC-SHA256 Credential=([^,]+), SignedHeaders=([^,]+), Signature=([0-9a-f]+)$/
    .exec(request.headers.authorization);
  if (!match) throw new Refusal(400, 'AuthorizationHeaderMalformed', 'The header is malformed.');
  const [, credential, names, signature] = match;
  const signed = new Set(names.split(';'));
  const date = parseDate(request.headers['x-amz-date']);
  if (Math.abs(Date.now() - date) > CLOCK_SKEW_MS)
    throw new Refusal(403, 'RequestTimeTooSkewed', 'The clocks differ too much.');
  for (const name of ['host', PAYLOAD, 'x-amz-date'])
    if (!signed.has(name)) throw new Refusal(403, 'AccessDenied', `${name} must be signed`);
  const headers = {};
  for (const name of signed) {
    // What is signed must have been sent.
    if (request.headers[name] === undefined)
      throw new Refusal(403, 'SignatureDoesNotMatch', `${name} was signed and not sent`);
    headers[name] = request.headers[name];
  }
  const again = await signerFor(regionOf(credential)).sign(
    { method: request.method, protocol: 'http:', hostname: request.headers.host, path: url.pathname,
      query: Object.fromEntries(url.searchParams), headers },
    { signingDate: date, signableHeaders: signed });
  if (!sameSignature(again.headers.authorization.split('Signature=')[1], signature))
    throw new Refusal(403, 'SignatureDoesNotMatch', 'The signature does not match.');
}

async function checkUrl(request, url) {
  const query = Object.fromEntries(url.searchParams);
  const signature = query['X-Amz-Signature'] || '';
  const date = parseDate(query['X-Amz-Date']);
  const lifetime = Number(query['X-Amz-Expires']);
  const region = regionOf(query['X-Amz-Credential']);
  if (!(lifetime > 0 && lifetime <= 604800) || Date.now() > date.getTime() + lifetime * 1000)
    throw new Refusal(403, 'AccessDenied', 'Request has expired');
  for (const name of ['Algorithm', 'Credential', 'Date', 'Expires', 'SignedHeaders', 'Signature'])
    delete query[`X-Amz-${name}`];
  const payload = new Set([PAYLOAD]);
  const again = await signerFor(region).presign(
    { method: request.method, protocol: 'http:', hostname: request.headers.host, path: url.pathname, query,
      headers: { host: request.headers.host, [PAYLOAD]: 'UNSIGNED-PAYLOAD' } },
    { signingDate: date, expiresIn: lifetime, unhoistableHeaders: payload, unsignableHeaders: payload });
  if (!sameSignature(again.query['X-Amz-Signature'], signature))
    throw new Refusal(403, 'SignatureDoesNotMatch', 'The signature does not match.');
}

async function readBody(request) {
  const parts = [];
  for await (const part of request) parts.push(part);
  return Buffer.concat(parts);
}

function checkBody(request, body) {
  const wanted = request.headers[PAYLOAD];
  if (wanted === undefined || wanted === 'UNSIGNED-PAYLOAD') return;
  if (crypto.createHash('sha256').update(body).digest('hex') !== wanted)
    throw new Refusal(400, 'XAmzContentSHA256Mismatch', 'The body is not that of its SHA-256.');
}

function refuse(response, why) {
  const body = '<?xml version="1.0" encoding="UTF-8"?>\n' +
    `<Error><Code>${why.code || 'InternalError'}</Code><Message>${why.message}</Message></Error>`;
  response.writeHead(why.status || 500, { 'Content-Type': 'application/xml', 'Content-Length': body.length });
  response.end(body);
}

// The request again, for s3rver: its body was read.
function replay(request, url, body) {
  const again = Readable.from(body.length > 0 ? [body] : []);
  for (const name of [...url.searchParams.keys()])
    if (name.startsWith('X-Amz-')) url.searchParams.delete(name);
  return Object.assign(again, {
    method: request.method, url: url.pathname + url.search, httpVersion: request.httpVersion,
    httpVersionMajor: 1, httpVersionMinor: 1, rawHeaders: request.rawHeaders, socket: request.socket,
    headers: { ...request.headers, authorization: S3RVER_HEADER, [PAYLOAD]: 'UNSIGNED-PAYLOAD',
      'x-amz-date': new Date().toISOString().replace(/[-:]|\.\d+/g, '') },
  });
}

async function main() {
  const store = new S3rver({
    directory, silent: true, configureBuckets: [{ name: bucket, configs: [] }],
    serviceEndpoint: 'localhost', vhostBuckets: true,
  });
  await store.configureBuckets();
  const serve = store.callback();
  const handle = async (request, response) => {
    response.on('finish', () => console.log(response.statusCode, request.method, request.url));
    try {
      const url = new URL(request.url, 'http://localhost');
      const body = await readBody(request);
      await (url.searchParams.has('X-Amz-Signature') ? checkUrl : checkHeader)(request, url);
      checkBody(request, body);
      serve(replay(request, url, body), response);
    } catch (why) {
      if (!request.destroyed || request.complete) refuse(response, why);
    }
  };
  const server = certificate
    ? https.createServer({ cert: fs.readFileSync(certificate), key: fs.readFileSync(key) }, handle)
    : http.createServer(handle);
  server.listen(Number(port), '127.0.0.1', () => console.log('ready', server.address().port));
}

main();
