//! The mark that says a model made a picture: IPTC's digital source type, in an XMP packet.
//! Owns the packet; it must never know which model, or what the picture shows.

use super::png::TextChunk;

const KEYWORD: &str = "XML:com.adobe.xmp";
const SOURCES: &str = "http://cv.iptc.org/newscodes/digitalsourcetype/";

/// For every PNG that shows what a model drew.
pub fn ai_mark() -> TextChunk {
    let packet = format!(
        "<?xpacket begin=\"\u{feff}\" id=\"W5M0MpCehiHzreSzNTczkc9d\"?>\n\
         <x:xmpmeta xmlns:x=\"adobe:ns:meta/\">\n\
         <rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\">\n\
         <rdf:Description rdf:about=\"\" \
         xmlns:Iptc4xmpExt=\"http://iptc.org/std/Iptc4xmpExt/2008-02-29/\">\n\
         <Iptc4xmpExt:DigitalSourceType>{SOURCES}trainedAlgorithmicMedia\
         </Iptc4xmpExt:DigitalSourceType>\n\
         </rdf:Description>\n\
         </rdf:RDF>\n\
         </x:xmpmeta>\n\
         <?xpacket end=\"w\"?>"
    );
    TextChunk::new(KEYWORD, packet)
}

/// The digital source type that a picture's packet names, such as `trainedAlgorithmicMedia`,
/// whoever wrote it.
pub fn source_type(texts: &[TextChunk]) -> Option<&str> {
    let packet = texts.iter().find(|text| text.keyword == KEYWORD)?;
    let (_, named) = packet.text.split_once("/newscodes/digitalsourcetype/")?;
    let end = named.find(|c: char| !c.is_ascii_alphanumeric());
    Some(&named[..end.unwrap_or(named.len())])
}
