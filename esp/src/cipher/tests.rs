//! Known answers, and one implementation against another.

mod draft_mcgrew;

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes128Gcm, Aes256Gcm};
use proptest::prelude::*;

use super::*;

fn hex(digits: &str) -> Vec<u8> {
    let digits = Vec::from_iter(digits.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_digit(16).unwrap() as u8));
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn row(name: &str) -> &'static Encr {
    ENCR.iter().find(|row| row.to_string() == name).unwrap()
}

/// Seals `body` and expects `sealed` (ciphertext, then ICV); opens it again; refuses it with one bit changed.
fn seals_to(cipher: &dyn Cipher, aad: Aad<'_>, iv: &[u8], body: &[u8], sealed: &[u8]) {
    let mut octets = body.to_vec();
    let (expected, expected_icv) = sealed.split_at(body.len());
    let mut icv = vec![0; expected_icv.len()];
    cipher.seal(aad, iv, &mut octets, &mut icv).unwrap();
    assert_eq!((&octets[..], &icv[..]), (expected, expected_icv));
    cipher.open(aad, iv, &mut octets, &icv).unwrap();
    assert_eq!(octets, body);
    icv[0] ^= 1;
    assert_eq!(cipher.open(aad, iv, &mut expected.to_vec(), &icv), Err(CipherError::Forged));
}

#[test]
fn aes_gcm_in_esp() {
    for (number, case) in draft_mcgrew::CASES.iter().enumerate() {
        let (key, packet, body) = (hex(case.key), hex(case.packet), hex(case.body));
        let row = Encr::find(20, Some((key.len() as u16 - 4) * 8), None).unwrap();
        let (header, rest) = packet.split_first_chunk::<8>().unwrap();
        let (iv, sealed) = rest.split_at(row.iv_len);
        println!("case {}: {row}", number + 1);
        seals_to(&*row.key(&key, &[]).unwrap(), Aad::esp(header, case.esn_high), iv, &body, sealed);
    }
}

const RFC7634_KEY: &str = "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f a0a1a2a3";
const RFC7634_IV: &str = "1011121314151617";

#[test]
fn chacha20_poly1305_in_esp() {
    // RFC 7634 appendix A.
    let cipher = row("chacha20poly1305").key(&hex(RFC7634_KEY), &[]).unwrap();
    let body = hex("45000054a6f200004001e778c6336405c000020508005b7a3a080000553bec10
        0007362708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223
        2425262728292a2b2c2d2e2f303132333435363701020204");
    let sealed = hex("24039428b97f417e3c13753a4f05087b67c352e6a7fab1b982d466ef407ae5c6
        14ee8099d52844eb61aa95dfab4c02f72aa71e7c4c4f64c9befe2facc638e8f3
        cbec163fac469b502773f6fb94e664da9165b82829f641e0
        76aaa8266b7fb0f7b11b369907e1ad43");
    let header = [1, 2, 3, 4, 0, 0, 0, 5];
    seals_to(&*cipher, Aad::esp(&header, None), &hex(RFC7634_IV), &body, &sealed);
}

#[test]
fn chacha20_poly1305_in_ike() {
    // RFC 7634 appendix B.
    let cipher = row("chacha20poly1305").key(&hex(RFC7634_KEY), &[]).unwrap();
    let header = hex("c0c1c2c3c4c5c6c7d0d1d2d3d4d5d6d72e202500000000090000004529000029");
    let body = hex("0000000c000040010000000a00");
    let sealed = hex("610394701f8d017f7c129248896b71bfe25236efd7cdc67066906315b2");
    seals_to(&*cipher, Aad::new(&header), &hex(RFC7634_IV), &body, &sealed);
}

/// The row's cipher without regard to its MAC: whatever that is, it must verify.
fn cbc_encrypts_to(key: &str, iv: &str, plaintext: &[u8], ciphertext: &str) {
    let key = hex(key);
    for integ in [12, 13, 14] {
        let row = Encr::find(12, Some(key.len() as u16 * 8), Some(integ)).unwrap();
        let cipher = row.key(&key, &vec![7; row.integ_key_len]).unwrap();
        let (mut body, mut icv) = (plaintext.to_vec(), vec![0; row.icv_len]);
        cipher.seal(Aad::new(b"header"), &hex(iv), &mut body, &mut icv).unwrap();
        assert_eq!(body, hex(ciphertext), "{row}");
        cipher.open(Aad::new(b"header"), &hex(iv), &mut body, &icv).unwrap();
        assert_eq!(body, plaintext);
    }
}

#[test]
fn aes_cbc() {
    // RFC 3602 §4, cases 1 to 8; 5 to 8 are the payloads and trailers of ESP packets.
    for (key, iv, plaintext, ciphertext) in [
        (
            "06a9214036b8a15b512e03d534120006",
            "3dafba429d9eb430b422da802c9fac41",
            b"Single block msg".to_vec(),
            "e353779c1079aeb82708942dbe77181a",
        ),
        (
            "c286696d887c9aa0611bbb3e2025a45a",
            "562e17996d093d28ddb3ba695a2e6f58",
            Vec::from_iter(0..32),
            "d296cd94c2cccf8a3a863028b5e1dc0a7586602d253cfff91b8266bea6d61ab1",
        ),
        (
            "6c3ea0477630ce21a2ce334aa746c2cd",
            "c782dc4c098c66cbd9cd27d825682c81",
            b"This is a 48-byte message (exactly 3 AES blocks)".to_vec(),
            "d0a02b3836451753d493665d33f0e8862dea54cdb293abc7506939276772f8d5
             021c19216bad525c8579695d83ba2684",
        ),
        (
            "56e47a38c5598974bc46903dba290349",
            "8ce82eefbea0da3c44699ed7db51b7d9",
            Vec::from_iter(0xa0..=0xdf),
            "c30e32ffedc0774e6aff6af0869f71aa0f3af07a9a31a9c684db207eb0ef8e4e
             35907aa632c3ffdf868bb7b29d3d46ad83ce9f9a102ee99d49a53e87f4c3da55",
        ),
        (
            "90d382b410eeba7ad938c46cec1a82bf",
            "e96e8c08ab465763fd098d45dd3ff893",
            hex("08000ebda70a00008e9c083db95b070008090a0b0c0d0e0f1011121314151617
                 18191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f3031323334353637
                 0102030405060708090a0b0c0d0e0e01"),
            "f663c25d325c18c6a9453e194e120849a4870b66cc6b9965330013b4898dc856
             a4699e523a55db080b59ec3a8e4b7e52775b07d1db34ed9c538ab50c551b874a
             a269add047ad2d5913ac19b7cfbad4a6",
        ),
        (
            "90d382b410eeba7ad938c46cec1a82bf",
            "69d08df7d203329db093fc4924e5bd80",
            hex("0800b5e8a80a0500a69c083d0b660e0077777777777777777777777701020201"),
            "f51995881ec4e0c4488987ce742e8109689bb379d2d750c0d915dca346a89f75",
        ),
        (
            "0123456789abcdef0123456789abcdef",
            "f4e765244f6407adf13dc1380f673f37",
            hex("45000054090400004001f988c0a87b03c0a87bc808009f76a90a0100b49c083d
                 02a2040008090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223
                 2425262728292a2b2c2d2e2f30313233343536370102030405060708090a0a04"),
            "773b5241a4c449225e4f3ce5ed611b0c237ca96cf74a93013c1b0ea1a0cf70f8
             e4ecaec78ac53aad7a0f022b859243c647752e94a859352b8a4d4d2decd136e5
             c177f132ad3fbfb2201ac9904c74ee0a109e0ca1e4dfe9d5a100b842f1c22f0d",
        ),
        (
            "0123456789abcdef0123456789abcdef",
            "85d47224b5f3dd5d2101d4ea8dffab22",
            hex("45000044090c00004001f990c0a87b03c0a87bc80800d63caa0a0200c69c083d
                 a3de0300ffffffffffffffffffffffffffffffffffffffffffffffffffffffff
                 ffffffff0102030405060708090a0a04"),
            "15b92683819596a8047232cc00f7048fe45318e11f8a0f62ede3c3fc61203bb5
             0f980a08c9843fd3a1b06d5c07ff9639b7eb7dfb3512e5de435e7207ed971ef3
             d2726d9b5ef6affc6d17a0decbb13892",
        ),
    ] {
        cbc_encrypts_to(key, iv, &plaintext, ciphertext);
    }
    // NIST SP 800-38A F.2.3 and F.2.5.
    let plaintext = hex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51
        30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710");
    let iv = "000102030405060708090a0b0c0d0e0f";
    cbc_encrypts_to(
        "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b",
        iv,
        &plaintext,
        "4f021db243bc633d7178183a9fa071e8b4d9ada9ad7dedf4e5e738763f69145a
         571b242012fb7ae07fa9baac3df102e008b0e27988598881d920a9e64f5615cd",
    );
    cbc_encrypts_to(
        "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
        iv,
        &plaintext,
        "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d
         39f23369a9d9bacfa530e26304231461b2eb05e2c39be9fcda6c19078c6a9d1b",
    );
}

#[test]
fn hmac_sha2() {
    // RFC 4868 §2.7.2, AUTH test vectors 2 and 3 (1 is shorter than an IV): the data as associated data and IV.
    for (integ, data, key, icv) in [
        (12, JEFE_DATA.to_vec(), b"Jefe".repeat(8), "167f928588c5cc2eef8e3093caa0e87c"),
        (13, JEFE_DATA.to_vec(), b"Jefe".repeat(12), "2c7353974f1842fd66d53c452ca42122b28c0b594cfb184d"),
        (
            14,
            JEFE_DATA.to_vec(),
            b"Jefe".repeat(16),
            "cb370917ae8a7ce28cfd1d8f4705d6141c173b2a9362c15df235dfb251b15454",
        ),
        (12, vec![0xdd; 50], vec![0xaa; 32], "cdcb1220d1ecccea91e53aba3092f962"),
        (13, vec![0xdd; 50], vec![0xaa; 48], "809f439be00274321d4a538652164b53554a508184a0c316"),
        (14, vec![0xdd; 50], vec![0xaa; 64], "2ee7acd783624ca9398710f3ee05ae41b9f9b0510c87e49e586cc9bf961733d8"),
    ] {
        let row = Encr::find(12, Some(128), Some(integ)).unwrap();
        let cipher = row.key(&[0; 16], &key).unwrap();
        let (aad, iv) = data.split_at(data.len() - 16);
        seals_to(&*cipher, Aad::new(aad), iv, &[], &hex(icv));
        // The high half of an extended sequence number comes last (RFC 4303 §2.2.1).
        let (data, high) = data.split_last_chunk().unwrap();
        let (aad, iv) = data.split_at(data.len() - 16);
        if let Some(header) = aad.as_array() {
            seals_to(&*cipher, Aad::esp(header, Some(u32::from_be_bytes(*high))), iv, &[], &hex(icv));
        }
    }
}

const JEFE_DATA: &[u8; 28] = b"what do ya want for nothing?";

#[test]
fn rows_are_distinct_and_consistent() {
    for (i, row) in ENCR.iter().enumerate() {
        assert_eq!(Encr::find(row.id, row.key_bits, row.integ), Some(row));
        assert!(ENCR[..i].iter().all(|other| other != row && other.to_string() != row.to_string()));
        assert!(row.block.is_power_of_two());
        assert_eq!(row.is_aead(), row.integ_key_len == 0);
        assert_eq!(row.key_bits.map_or(32, |bits| usize::from(bits) / 8), row.enc_key_len);
        let key = vec![1; row.key_material_len()];
        let (encryption, integrity) = key.split_at(row.encryption_len());
        let cipher = row.key(encryption, integrity).unwrap();
        assert_eq!(row.key(&encryption[1..], integrity).err(), Some(KeyLength));
        assert_eq!(row.key(encryption, &[integrity, &[0]].concat()).err(), Some(KeyLength));
        assert_eq!(row.key(&[], &[]).err(), Some(KeyLength));

        let ivs = [1, 2, u64::MAX].map(|counter| {
            let mut iv = vec![0; row.iv_len];
            cipher.write_iv(counter, &mut iv).unwrap();
            iv
        });
        assert!(ivs[0] != ivs[1] && ivs[1] != ivs[2]);
        assert_eq!(cipher.write_iv(1, &mut vec![0; row.iv_len + 1]), Err(CipherError::Length));
        let aad = Aad::new(&[]);
        for (iv_len, body_len, icv_len) in [
            (row.iv_len - 1, 16, row.icv_len),
            (row.iv_len + 1, 16, row.icv_len),
            (row.iv_len, 16, row.icv_len - 1),
            (row.iv_len, 16, row.icv_len + 1),
            (row.iv_len, if row.block == 1 { 16 } else { 17 }, if row.block == 1 { 0 } else { row.icv_len }),
        ] {
            let (iv, mut body, mut icv) = (vec![0; iv_len], vec![0; body_len], vec![0; icv_len]);
            assert_eq!(cipher.seal(aad, &iv, &mut body, &mut icv), Err(CipherError::Length), "{row}");
            assert_eq!(cipher.open(aad, &iv, &mut body, &icv), Err(CipherError::Length), "{row}");
            assert!(body.iter().all(|&octet| octet == 0));
        }
    }
}

proptest! {
    /// `ring` against `aes-gcm`.
    #[test]
    fn aes_gcm_agrees_with_another_implementation(
        key: [u8; 32], salt: [u8; 4], iv: [u8; 8], header: [u8; 8], esn_high: Option<u32>,
        body in prop::collection::vec(any::<u8>(), 0..2000),
    ) {
        let nonce = <[u8; 12]>::try_from([&salt[..], &iv].concat()).unwrap().into();
        let high = esn_high.map(u32::to_be_bytes);
        let aad = [&header[..4], high.as_ref().map_or(&[], |high| &high[..]), &header[4..]].concat();
        for bits in [128, 256] {
            let key = &key[..bits / 8];
            let mut expected = body.clone();
            let tag = if bits == 128 {
                Aes128Gcm::new_from_slice(key).unwrap().encrypt_inout_detached(&nonce, &aad, (&mut expected[..]).into())
            } else {
                Aes256Gcm::new_from_slice(key).unwrap().encrypt_inout_detached(&nonce, &aad, (&mut expected[..]).into())
            };
            expected.extend(tag.unwrap());
            let cipher = Encr::find(20, Some(bits as u16), None).unwrap().key(&[key, &salt].concat(), &[]).unwrap();
            seals_to(&*cipher, Aad::esp(&header, esn_high), &iv, &body, &expected);
        }
    }
}
